//! `streaming worker`: one thread that polls and decodes. Uploads and commits go on beside it; when more is held than
//! may be, it reads no further.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bucket::Bucket;
use chrono::Utc;
use lake::Event;
use rdkafka::{
    Message, Offset,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
    types::RDKafkaErrorCode,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    announce::Announcer,
    assignment::{Assigned, Partition, hint},
    commit_log::{CommitEnd, CommitLogs},
    dead_letters::Envelope,
    decode::Decoder,
    kafka,
    lately::{Lately, Share},
    metrics::Metrics,
    owned::{Done, Owned, Uploader},
    rows::Position,
    settings::WorkerOptions,
};

/// The longest wait for a record: how late a stop, an age or a commit may be noticed.
const POLL_MAX: Duration = Duration::from_millis(100);

/// Commits, ages and memory are looked after this often, or after so many records.
const TEND_EVERY: Duration = Duration::from_millis(20);
const TEND_RECORDS: u32 = 4_096;

/// Kafka throws out who does not poll; whoever waits for the bucket for longer polls with everything paused.
const WAIT_UNPOLLED: Duration = Duration::from_secs(60);

/// What Kafka's client may hold: records that are fetched ahead, which should stay in the processor's cache.
const QUEUE_MAX: u64 = 32 << 20;

/// Kafka's client counts the bytes of records, but holds several times as much: about 300 bytes beside each record.
const QUEUE_OVERHEAD: u64 = 4;

/// The bytes of an answer are compressed. Kafka's client refuses less than the largest record, by default.
const FETCH_BYTES_MIN: u64 = 1_000_000;

/// While Kafka is away its client says so many times a second.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Works until `stop`, then commits what it has read. Blocks: call it from a thread of its own.
///
/// # Errors
/// A partition cannot be taken over, or a commit cannot be made whole.
pub fn run(
    options: &WorkerOptions,
    bucket: Bucket,
    runtime: &Handle,
    metrics: Arc<Metrics>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut worker = Worker::start(options, bucket, runtime, metrics)?;
    while !stop.is_cancelled() {
        worker.turn()?;
    }
    tracing::info!("stopping: committing what was read");
    let all = std::mem::take(&mut *worker.shared().owned()).into_iter().collect();
    // Who calls knows how long it may take.
    worker.shared().finish(&worker.consumer, all, Duration::MAX)?;
    worker.consumer.unsubscribe();
    Ok(())
}

struct Worker<'o> {
    options: &'o WorkerOptions,
    consumer: BaseConsumer<Assigned>,
    decoders: BTreeMap<Event, Decoder>,
    budget: usize,
    tended: Instant,
    since_tended: u32,
    /// Since when more is held than may be.
    full_since: Option<Instant>,
    is_paused: bool,
    lately: Lately,
    /// Whether too many of the last records were dead letters.
    is_alarmed: bool,
    /// When it was last told that Kafka does not answer.
    told_away: Option<Instant>,
}

impl<'o> Worker<'o> {
    fn start(
        options: &'o WorkerOptions,
        bucket: Bucket,
        runtime: &Handle,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        // What Kafka's client has fetched ahead is held, too.
        let queue = (options.memory_bytes / 4).min(QUEUE_MAX);
        let budget = usize::try_from(options.memory_bytes - queue)?;
        let announcer = Announcer::start(&options.orchestrator, runtime);
        let context = Assigned {
            uploader: Uploader::new(CommitLogs::new(bucket), runtime.clone(), metrics, announcer),
            kafka: options.kafka.clone(),
            app: options.logs.app.clone(),
            epoch: options.logs.epoch,
            placement: options.placement,
            owned: Mutex::default(),
            refused: Mutex::default(),
        };
        let mut config = kafka::config(&options.kafka);
        if let Some(instance) = &options.instance {
            config.set("group.instance.id", instance);
        }
        let consumer: BaseConsumer<Assigned> = config
            .set("group.id", &options.logs.app)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "error")
            .set("session.timeout.ms", (options.session_timeout_secs * 1_000).to_string())
            .set("heartbeat.interval.ms", (options.session_timeout_secs * 300).to_string())
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("statistics.interval.ms", "5000")
            // A full queue must not stall the fetcher for its default of a second.
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", ((queue / QUEUE_OVERHEAD) >> 10).to_string())
            .set("fetch.max.bytes", (queue / QUEUE_OVERHEAD / 4).max(FETCH_BYTES_MIN).to_string())
            .create_with_context(context)
            .context("cannot make the Kafka consumer")?;
        consumer.subscribe(&Event::ALL.map(Event::topic))?;
        tracing::info!(app = options.logs.app, epoch = options.logs.epoch, budget, "subscribed");
        Ok(Self {
            options,
            consumer,
            decoders: Event::ALL.into_iter().map(|event| (event, Decoder::new(event))).collect(),
            budget,
            tended: Instant::now(),
            since_tended: 0,
            full_since: None,
            is_paused: false,
            lately: Lately::since(Instant::now()),
            is_alarmed: false,
            told_away: None,
        })
    }

    fn shared(&self) -> &Assigned {
        self.consumer.context()
    }

    /// Reads a record if there is room, and looks after the rest when it is time.
    fn turn(&mut self) -> anyhow::Result<()> {
        let read = if self.full_since.is_some() { self.wait_for_room()? } else { self.poll(POLL_MAX)? };
        self.since_tended += 1;
        // The clock is asked now and then: under load each record takes less than a microsecond.
        let may_be_time = || self.since_tended.is_multiple_of(64) && self.tended.elapsed() >= TEND_EVERY;
        if !read || self.since_tended >= TEND_RECORDS || may_be_time() {
            self.tend()?;
            (self.tended, self.since_tended) = (Instant::now(), 0);
        }
        Ok(())
    }

    /// Whether there was a record.
    fn poll(&mut self, wait: Duration) -> anyhow::Result<bool> {
        let Self { consumer, decoders, lately, told_away, .. } = self;
        // Under load there is a record, and nobody needs a clock to know when to stop waiting for one.
        let polled = consumer.poll(Duration::ZERO).or_else(|| consumer.poll(wait));
        if let Some(refused) = consumer.context().refused() {
            return Err(refused);
        }
        match polled {
            None => Ok(false),
            Some(Ok(message)) => read(consumer.context(), decoders, lately, &message).map(|()| true),
            Some(Err(error)) => judge(&error, told_away).map(|()| false),
        }
    }

    /// Reads nothing until uploads have made room. Nothing is polled meanwhile, for pausing throws away what was fetched
    /// ahead; but who waits long must show that he lives.
    fn wait_for_room(&mut self) -> anyhow::Result<bool> {
        let since = self.full_since.map_or(Duration::ZERO, |since| since.elapsed());
        if since > WAIT_UNPOLLED {
            if !self.is_paused {
                tracing::warn!(?since, "the bucket is slow: the memory is full, and nothing is read");
                self.consumer.pause(&self.consumer.assignment()?)?;
                self.is_paused = true;
            }
            self.poll(Duration::ZERO)?;
        }
        self.shared().uploader.wait(POLL_MAX);
        Ok(false)
    }

    fn tend(&mut self) -> anyhow::Result<()> {
        self.take_ended()?;
        self.begin_due()?;
        self.keep_within_budget()?;
        self.watch_dead_letters()
    }

    fn take_ended(&self) -> anyhow::Result<()> {
        let mut ended = Vec::new();
        for (of, owned) in self.shared().owned().iter_mut() {
            if let Some((done, end)) = owned.ended(&self.shared().uploader.runtime)? {
                ended.push((*of, done, end));
            }
        }
        for (of, done, end) in ended {
            let Done { start, end: to, counts } = done;
            let (topic, partition) = (of.topic(), of.number);
            let (valid, invalid) = (counts.valid, counts.invalid);
            tracing::info!(topic, partition, start, end = to, valid, invalid, ended = ?end, "range");
            match end {
                CommitEnd::Committed => hint(&self.consumer, of, done, CommitMode::Async),
                CommitEnd::Lost { end } => self.go_on_after(of, start, end)?,
            }
        }
        Ok(())
    }

    /// Somebody else has committed beyond our start: drop what was read since, and read on where they ended.
    fn go_on_after(&self, of: Partition, last_start: i64, end: i64) -> anyhow::Result<()> {
        if let Some(owned) = self.shared().owned().get_mut(&of) {
            *owned = self.shared().range(of, end, Some(last_start));
            self.consumer.seek(of.topic(), of.number, Offset::Offset(end), kafka::ASK)?;
        }
        Ok(())
    }

    fn begin_due(&self) -> anyhow::Result<()> {
        let uploader = &self.shared().uploader;
        for owned in self.shared().owned().values_mut() {
            if !owned.is_committing() && owned.range.is_due(&self.options.rotation) {
                owned.commit(uploader)?;
            }
        }
        Ok(())
    }

    /// Finishes the biggest files before their time while too much is held.
    fn keep_within_budget(&mut self) -> anyhow::Result<()> {
        let uploader = self.shared().uploader.clone();
        let (held, open_files, committing_for) = {
            let mut owned = self.shared().owned();
            let sum =
                |owned: &BTreeMap<Partition, Owned>| owned.values().map(|owned| owned.range.held()).sum::<usize>();
            let mut open = sum(&owned);
            // Half of it open, half of it on its way: what is uploaded must not stand still while more is read.
            while open > self.budget / 2 {
                let biggest = owned.values_mut().max_by_key(|owned| owned.range.held());
                if !biggest.map_or(Ok(false), |biggest| biggest.make_room(&uploader))? {
                    break;
                }
                open = sum(&owned);
            }
            let open_files = owned.values().map(|owned| owned.range.open_files()).sum();
            let committing_for = owned.values().filter_map(Owned::committing_for).max().unwrap_or_default();
            (open + uploader.in_flight(), open_files, committing_for)
        };
        uploader.metrics.tick(held, self.budget, open_files, committing_for);
        match held >= self.budget {
            true => self.full_since = self.full_since.or_else(|| Some(Instant::now())),
            false => {
                self.full_since = None;
                if std::mem::take(&mut self.is_paused) {
                    self.consumer.resume(&self.consumer.assignment()?)?;
                }
            }
        }
        Ok(())
    }

    fn watch_dead_letters(&mut self) -> anyhow::Result<()> {
        let Some(share) = self.lately.take(Instant::now()) else { return Ok(()) };
        let was_alarmed = std::mem::replace(&mut self.is_alarmed, share.part() > self.options.alarm_invalid);
        self.shared().uploader.metrics.dead_letter_share(share.part(), self.is_alarmed);
        let Share { read, invalid } = share;
        match (was_alarmed, self.is_alarmed) {
            (false, true) => tracing::error!(
                read,
                invalid,
                threshold = self.options.alarm_invalid,
                "ALARM: too many dead letters; look at them with `streaming dlq list`"
            ),
            (true, false) => tracing::info!(read, invalid, "no longer too many dead letters"),
            _ => {}
        }
        match self.options.max_invalid {
            Some(most) if share.part() > most => bail!(
                "{invalid} of the last {read} records were dead letters, more than --max-invalid {most} allows; look at \
                 them with `streaming dlq list`. What was read and is not committed is read again"
            ),
            _ => Ok(()),
        }
    }
}

fn read(
    assigned: &Assigned,
    decoders: &mut BTreeMap<Event, Decoder>,
    lately: &mut Lately,
    message: &BorrowedMessage<'_>,
) -> anyhow::Result<()> {
    let (partition, offset) = (message.partition(), message.offset());
    let Some(of) = Partition::of(message.topic(), partition) else { return Ok(()) };
    let mut owned = assigned.owned();
    // A record of a partition that was revoked meanwhile, or of one that was read already.
    let Some(range) = owned.get_mut(&of).map(|owned| &mut owned.range).filter(|range| offset >= range.next()) else {
        return Ok(());
    };
    let Some(decoder) = decoders.get_mut(&of.event) else { return Ok(()) };
    let at = Position { topic: of.topic(), partition, offset, timestamp_ms: message.timestamp().to_millis() };
    let headers = || headers(message);
    let envelope = message.payload().map(|value| Envelope { key: message.key(), headers: &headers, value });
    let before = range.invalid();
    range.read(decoder, envelope, at, Utc::now)?;
    lately.count(range.invalid() - before);
    Ok(())
}

/// Most errors of a poll mend themselves: a broker is away, a topic is not there yet.
fn judge(error: &KafkaError, told: &mut Option<Instant>) -> anyhow::Result<()> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
            bail!("Kafka does not hold the offset at which the commit log ends: {error}")
        }
        Some(RDKafkaErrorCode::Fatal) => bail!("{error}"),
        _ if told.is_some_and(|told| told.elapsed() < TELL_EVERY) => Ok(()),
        _ => {
            *told = Some(Instant::now());
            tracing::warn!(%error, "Kafka does not answer; waiting");
            Ok(())
        }
    }
}

fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
}
