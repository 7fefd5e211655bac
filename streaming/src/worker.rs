//! `streaming worker`: one thread that polls, decodes and decides; uploads overlap while it waits for a commit.
//!
//! Start offsets come from the commit log and are set in the assignment callback, before the first fetch. A revoked
//! partition's open range is dropped: its next owner reads it again from the last commit.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use bucket::Bucket;
use chrono::Utc;
use futures::future::try_join_all;
use lake::{Event, layout::LogId};
use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    commit_log::{CommitEnd, CommitLogs, InKafka},
    dead_letters::Envelope,
    kafka,
    range::OpenRange,
    rows::Position,
    settings::{Rotation, WorkerOptions},
    topic_id::topic_id,
};

/// The longest wait for a record: how late a stop or a rotation by age may be noticed.
const POLL_MAX: Duration = Duration::from_millis(200);

type Partition = (String, i32);

/// What the assignment callback and the poll loop share. Both run on the one thread, the callback inside of a poll.
struct Assigned {
    logs: CommitLogs,
    runtime: Handle,
    app: String,
    epoch: u32,
    bootstrap_servers: String,
    ranges: Mutex<HashMap<Partition, OpenRange>>,
    /// Why a partition could not be taken over.
    refused: Mutex<Option<anyhow::Error>>,
}

/// Works until `stop`, then commits what it has read. Blocks: call it from a thread of its own.
///
/// # Errors
/// A partition cannot be taken over, or a commit cannot be made whole.
pub fn run(options: &WorkerOptions, bucket: Bucket, runtime: &Handle, stop: &CancellationToken) -> anyhow::Result<()> {
    let context = Assigned {
        logs: CommitLogs::new(bucket),
        runtime: runtime.clone(),
        app: options.app.clone(),
        epoch: options.epoch,
        bootstrap_servers: options.kafka.bootstrap_servers.clone(),
        ranges: Mutex::default(),
        refused: Mutex::default(),
    };
    let consumer: BaseConsumer<Assigned> = kafka::config(&options.kafka)
        .set("group.id", &options.app)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("auto.offset.reset", "error")
        .set("session.timeout.ms", "10000")
        .set("topic.metadata.refresh.interval.ms", "10000")
        // A full queue must not stall the fetcher for its default of a second.
        .set("fetch.queue.backoff.ms", "20")
        .set("queued.max.messages.kbytes", "65536")
        .create_with_context(context)
        .context("cannot make the Kafka consumer")?;
    consumer.subscribe(&Event::ALL.map(Event::topic))?;
    let worker = Worker { consumer, rotation: options.rotation };
    while !stop.is_cancelled() {
        worker.poll_once()?;
        worker.commit_due(false)?;
    }
    tracing::info!("stopping: committing what was read");
    worker.commit_due(true)?;
    worker.consumer.unsubscribe();
    Ok(())
}

struct Worker {
    consumer: BaseConsumer<Assigned>,
    rotation: Rotation,
}

impl Worker {
    fn shared(&self) -> &Assigned {
        self.consumer.context()
    }

    fn poll_once(&self) -> anyhow::Result<()> {
        let wait = self.shared().ranges().values().filter_map(|range| range.until_due(&self.rotation)).min();
        let polled = self.consumer.poll(wait.map_or(POLL_MAX, |wait| wait.min(POLL_MAX)));
        if let Some(refused) = self.shared().refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(refused);
        }
        match polled {
            None => Ok(()),
            Some(Ok(message)) => {
                self.read(&message);
                Ok(())
            }
            Some(Err(error)) => self.judge(&error),
        }
    }

    fn read(&self, message: &BorrowedMessage<'_>) {
        let partition = (message.topic().to_owned(), message.partition());
        let mut ranges = self.shared().ranges();
        // A record of a partition that was revoked meanwhile, or of one that was read already.
        let Some(range) = ranges.get_mut(&partition).filter(|range| message.offset() >= range.next()) else { return };
        let at = Position {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
        };
        let headers = headers(message);
        let envelope = message.payload().map(|value| Envelope { key: message.key(), headers: &headers, value });
        range.read(envelope, at, Utc::now());
    }

    /// Most errors of a poll mend themselves: a broker is away, a topic is not there yet.
    fn judge(&self, error: &KafkaError) -> anyhow::Result<()> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                Err(anyhow::anyhow!("Kafka does not hold the offset at which the commit log ends: {error}"))
            }
            Some(RDKafkaErrorCode::Fatal) => Err(anyhow::anyhow!("{error}")),
            _ => {
                tracing::warn!(%error, "Kafka does not answer; waiting");
                Ok(())
            }
        }
    }

    /// Closes and commits the ranges that are due (all of them at the end, or when memory is short), at the same time.
    fn commit_due(&self, all: bool) -> anyhow::Result<()> {
        let mut closed = Vec::new();
        {
            let mut ranges = self.shared().ranges();
            let held: u64 = ranges.values().map(OpenRange::bytes).sum();
            let all = all || held >= self.rotation.memory_bytes;
            for range in ranges.values_mut().filter(|range| all || range.is_due(&self.rotation)) {
                closed.extend(range.close()?);
            }
        }
        if closed.is_empty() {
            return Ok(());
        }
        let logs = &self.shared().logs;
        let commits = closed.into_iter().map(|range| async {
            let (partition, end, start) = ((range.log.topic.clone(), range.log.partition), range.end, range.start);
            let (valid, invalid) = (range.counts.valid, range.counts.invalid);
            let committed = logs.commit(range).await?;
            tracing::info!(
                topic = partition.0,
                partition = partition.1,
                start,
                end,
                valid,
                invalid,
                ?committed,
                "range"
            );
            anyhow::Ok((partition, start, end, committed))
        });
        for (partition, start, end, committed) in self.shared().runtime.block_on(try_join_all(commits))? {
            match committed {
                CommitEnd::Committed => self.hint(&partition, end, start),
                CommitEnd::Lost { end } => self.go_on_after(&partition, start, end)?,
            }
        }
        Ok(())
    }

    /// Tells Kafka how far we are, for people who look at its lag. The commit log is the truth.
    fn hint(&self, partition: &Partition, end: i64, start: i64) {
        let mut offsets = TopicPartitionList::new();
        let mut element = offsets.add_partition(&partition.0, partition.1);
        element.set_metadata(start.to_string());
        let committed =
            element.set_offset(Offset::Offset(end)).and_then(|()| self.consumer.commit(&offsets, CommitMode::Async));
        if let Err(error) = committed {
            tracing::debug!(%error, "Kafka was not told how far we are");
        }
    }

    /// Somebody else has committed beyond our start: drop what was read since, and read on where they ended.
    fn go_on_after(&self, partition: &Partition, last_start: i64, end: i64) -> anyhow::Result<()> {
        if let Some(range) = self.shared().ranges().get_mut(partition) {
            let event = Event::of_topic(&partition.0).context("a topic that was never subscribed")?;
            *range = OpenRange::new(event, self.shared().log(partition), end, Some(last_start));
            self.consumer.seek(&partition.0, partition.1, Offset::Offset(end), kafka::ASK)?;
        }
        Ok(())
    }
}

impl Assigned {
    fn ranges(&self) -> MutexGuard<'_, HashMap<Partition, OpenRange>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, (topic, partition): &Partition) -> LogId {
        LogId { app: self.app.clone(), topic: topic.clone(), epoch: self.epoch, partition: *partition }
    }

    /// Sets the start offsets of new partitions, from their commit logs.
    fn take_over(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) -> anyhow::Result<()> {
        let mut taken = Vec::new();
        for element in partitions.elements() {
            let partition = (element.topic().to_owned(), element.partition());
            let (low, high) = watermarks(consumer, &partition)?;
            let topic_id = self.runtime.block_on(topic_id(&self.bootstrap_servers, &partition.0))?;
            taken.push((partition, InKafka { topic_id, low, high }));
        }
        let heads = taken.iter().map(|(partition, kafka)| async {
            anyhow::Ok((partition.clone(), self.logs.take_over(&self.log(partition), *kafka).await?))
        });
        for (partition, head) in self.runtime.block_on(try_join_all(heads))? {
            let event = Event::of_topic(&partition.0).context("a topic that was never subscribed")?;
            partitions.set_partition_offset(&partition.0, partition.1, Offset::Offset(head.next))?;
            tracing::info!(topic = partition.0, partition = partition.1, from = head.next, "assigned");
            let range = OpenRange::new(event, self.log(&partition), head.next, head.last_start);
            self.ranges().insert(partition, range);
        }
        Ok(())
    }
}

/// Asks a few times: a broker that restarts, or elects a leader, is back in a moment.
fn watermarks(consumer: &BaseConsumer<Assigned>, partition: &Partition) -> anyhow::Result<(i64, i64)> {
    const TIMES: u32 = 10;
    const APART: Duration = Duration::from_secs(1);
    for _ in 1..TIMES {
        match consumer.fetch_watermarks(&partition.0, partition.1, kafka::ASK) {
            Ok(watermarks) => return Ok(watermarks),
            Err(error) => tracing::warn!(topic = partition.0, partition = partition.1, %error, "no watermarks yet"),
        }
        std::thread::sleep(APART);
    }
    Ok(consumer.fetch_watermarks(&partition.0, partition.1, kafka::ASK)?)
}

impl ClientContext for Assigned {}

impl ConsumerContext for Assigned {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self
                .take_over(consumer, partitions)
                .and_then(|()| consumer.incremental_assign(partitions).map_err(Into::into)),
            _ => {
                for element in partitions.elements() {
                    let dropped = self.ranges().remove(&(element.topic().to_owned(), element.partition()));
                    if dropped.is_some_and(|range| !range.is_empty()) {
                        tracing::info!(
                            topic = element.topic(),
                            partition = element.partition(),
                            "revoked; its new owner reads the open range again"
                        );
                    }
                }
                consumer.incremental_unassign(partitions).map_err(Into::into)
            }
        };
        if let Err(error) = done {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
}
