//! What the worker tells of itself: in Prometheus' form, and as a report to the orchestrator.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use lake::{
    Event,
    manifest::Counts,
    report::{self, Letter, Report},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{decode::Code, range::Spoilt};

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfTopic {
    topic: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfCode {
    topic: String,
    code: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfPartition {
    topic: String,
    partition: i32,
}

/// The figures of one worker. Records count when they are committed.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    records: Family<OfTopic, Counter>,
    rows: Family<OfTopic, Counter>,
    tombstones: Family<OfTopic, Counter>,
    dead_letters: Family<OfCode, Counter>,
    bytes: Family<OfTopic, Counter>,
    files: Family<OfTopic, Counter>,
    commits: Counter,
    lost_commits: Counter,
    commit_secs: Histogram,
    upload_secs: Histogram,
    lag: Family<OfPartition, Gauge>,
    lag_secs: Family<OfPartition, Gauge<f64, AtomicU64>>,
    dead_letter_share: Gauge<f64, AtomicU64>,
    dead_letter_alarm: Gauge,
    held: Gauge,
    budget: Gauge,
    open_files: Gauge,
    committing_for: Gauge<f64, AtomicU64>,
    /// When the poll loop last came round, in milliseconds since 1970.
    alive_at: AtomicI64,
    has_assignment: AtomicBool,
    /// The latest dead letters, the newest first.
    letters: Mutex<VecDeque<Letter>>,
    /// What [`Self::lag`] was told last of each partition.
    partitions: Mutex<BTreeMap<(String, i32), report::OfPartition>>,
}

/// What was committed.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) topic: String,
    pub(crate) counts: Counts,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) broken: BTreeMap<Code, Spoilt>,
}

/// So many dead letters are kept to be shown.
const LETTERS: usize = 20;

/// A loop that has not come round for so long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// A manifest may be there whose files nobody sees.
const STUCK_AFTER: Duration = Duration::from_secs(3_600);

impl Default for Metrics {
    fn default() -> Self {
        let secs = || Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0]);
        let mut metrics = Self {
            registry: Registry::with_prefix("streamcommerce_streaming"),
            records: Family::default(),
            rows: Family::default(),
            tombstones: Family::default(),
            dead_letters: Family::default(),
            bytes: Family::default(),
            files: Family::default(),
            commits: Counter::default(),
            lost_commits: Counter::default(),
            commit_secs: secs(),
            upload_secs: secs(),
            lag: Family::default(),
            lag_secs: Family::default(),
            dead_letter_share: Gauge::default(),
            dead_letter_alarm: Gauge::default(),
            held: Gauge::default(),
            budget: Gauge::default(),
            open_files: Gauge::default(),
            committing_for: Gauge::default(),
            alive_at: AtomicI64::new(Utc::now().timestamp_millis()),
            has_assignment: AtomicBool::new(false),
            letters: Mutex::default(),
            partitions: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("records", "Records of committed ranges", self.records.clone());
        registry.register("rows", "Records that became rows", self.rows.clone());
        registry.register("tombstones", "Records without a value", self.tombstones.clone());
        registry.register("dead_letters", "Records that could not become rows, by reason", self.dead_letters.clone());
        registry.register_with_unit("read", "Values of committed records", Unit::Bytes, self.bytes.clone());
        registry.register("files", "Committed files, those of dead letters included", self.files.clone());
        registry.register("commits", "Committed ranges", self.commits.clone());
        registry.register("lost_commits", "Ranges that somebody else had committed", self.lost_commits.clone());
        let secs = Unit::Seconds;
        registry.register_with_unit("commit", "From a closed range to readers", secs, self.commit_secs.clone());
        registry.register_with_unit("upload", "Uploads before a commit", Unit::Seconds, self.upload_secs.clone());
        registry.register("lag_records", "Records that Kafka has and that are not read", self.lag.clone());
        registry.register_with_unit("lag", "Age of the last record read, behind", Unit::Seconds, self.lag_secs.clone());
        let share = "The share of dead letters in the records read lately, from 0 to 1";
        registry.register("dead_letter_share", share, self.dead_letter_share.clone());
        let alarm = "1 if that share is over --alarm-invalid";
        registry.register("dead_letter_alarm", alarm, self.dead_letter_alarm.clone());
        registry.register_with_unit("held", "Held in memory, without Kafka's queue", Unit::Bytes, self.held.clone());
        registry.register_with_unit("budget", "What may be held", Unit::Bytes, self.budget.clone());
        registry.register("open_files", "Files that are being written", self.open_files.clone());
        let oldest = "Age of the oldest commit that is under way";
        registry.register_with_unit("committing_for", oldest, Unit::Seconds, self.committing_for.clone());
    }

    /// Counts what was committed.
    pub(crate) fn committed(&self, told: Told, took: Duration) {
        let Told { topic, counts, bytes, files, broken } = told;
        let of = OfTopic { topic: topic.clone() };
        self.files.get_or_create(&of).inc_by(files);
        self.records.get_or_create(&of).inc_by(counts.read);
        self.rows.get_or_create(&of).inc_by(counts.valid);
        self.tombstones.get_or_create(&of).inc_by(counts.tombstone);
        self.bytes.get_or_create(&of).inc_by(bytes);
        let mut letters = self.letters();
        for (code, Spoilt { records, first }) in broken {
            self.dead_letters.get_or_create(&OfCode { topic: topic.clone(), code: code.as_str() }).inc_by(records);
            letters.push_front(first);
        }
        letters.truncate(LETTERS);
        drop(letters);
        self.commits.inc();
        self.commit_secs.observe(took.as_secs_f64());
    }

    pub(crate) fn uploaded(&self, took: Duration) {
        self.upload_secs.observe(took.as_secs_f64());
    }

    pub(crate) fn lost(&self) {
        self.lost_commits.inc();
    }

    pub(crate) fn tick(&self, held: usize, budget: usize, open_files: usize, committing_for: Duration) {
        self.alive_at.store(Utc::now().timestamp_millis(), Ordering::Relaxed);
        let gauge = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.held.set(gauge(held));
        self.budget.set(gauge(budget));
        self.open_files.set(gauge(open_files));
        self.committing_for.set(committing_for.as_secs_f64());
    }

    pub(crate) fn dead_letter_share(&self, share: f64, is_alarm: bool) {
        self.dead_letter_share.set(share);
        self.dead_letter_alarm.set(i64::from(is_alarm));
    }

    pub(crate) fn assigned(&self) {
        self.has_assignment.store(true, Ordering::Relaxed);
    }

    pub(crate) fn revoked(&self, topic: &str, partition: i32) {
        let of = OfPartition { topic: topic.to_owned(), partition };
        self.lag.remove(&of);
        self.lag_secs.remove(&of);
        self.partitions().remove(&(of.topic, partition));
    }

    /// How far a partition is read: how many records Kafka has beyond, and Kafka's timestamp of the last one read.
    pub(crate) fn lag(&self, topic: &str, partition: i32, lag: i64, timestamp_ms: Option<i64>) {
        let behind = timestamp_ms.filter(|_| lag > 0).map_or(0, |at| Utc::now().timestamp_millis() - at);
        let of = OfPartition { topic: topic.to_owned(), partition };
        let lag_secs = behind.max(0) as f64 / 1_000.0;
        self.lag.get_or_create(&of).set(lag);
        self.lag_secs.get_or_create(&of).set(lag_secs);
        let topic = topic.to_owned();
        let now = report::OfPartition { topic: topic.clone(), partition, lag_records: lag, lag_secs };
        self.partitions().insert((topic, partition), now);
    }

    fn letters(&self) -> MutexGuard<'_, VecDeque<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<(String, i32), report::OfPartition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, as a page shows it; but for whose it is.
    pub(crate) fn report(&self) -> Report {
        Report {
            is_ready: self.unready().is_none(),
            topics: Event::ALL.into_iter().map(|event| self.report_of(event.topic())).collect(),
            partitions: self.partitions().values().cloned().collect(),
            commits: self.commits.get(),
            lost_commits: self.lost_commits.get(),
            held_bytes: self.held.get(),
            budget_bytes: self.budget.get(),
            open_files: self.open_files.get(),
            dead_letter_share: self.dead_letter_share.get(),
            is_alarmed: self.dead_letter_alarm.get() == 1,
            letters: self.letters().iter().cloned().collect(),
            ..Report::default()
        }
    }

    fn report_of(&self, topic: &str) -> report::OfTopic {
        let of = OfTopic { topic: topic.to_owned() };
        let count = |family: &Family<OfTopic, Counter>| family.get(&of).map_or(0, |counter| counter.get());
        let spoilt = |code: Code| OfCode { topic: topic.to_owned(), code: code.as_str() };
        let letters = Code::ALL.into_iter().filter_map(|code| Some(self.dead_letters.get(&spoilt(code))?.get()));
        report::OfTopic {
            topic: topic.to_owned(),
            records: count(&self.records),
            rows: count(&self.rows),
            tombstones: count(&self.tombstones),
            dead_letters: letters.sum(),
            bytes: count(&self.bytes),
            files: count(&self.files),
        }
    }

    /// Whether the poll loop comes round.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let since = Utc::now().timestamp_millis() - self.alive_at.load(Ordering::Relaxed);
        since < i64::try_from(HANGS_AFTER.as_millis()).unwrap_or(i64::MAX)
    }

    /// Why it should get no work now, if so. It is ready once it has joined the others: it has been told which partitions
    /// are its, be it none.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        let is_stuck = self.committing_for.get() > STUCK_AFTER.as_secs_f64();
        let reasons = [
            (!self.is_alive(), "the loop hangs"),
            (!self.has_assignment.load(Ordering::Relaxed), "not assigned yet"),
            (is_stuck, "a commit has been under way for more than an hour: readers may not see all that it commits"),
        ];
        reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
    }

    /// All of it, as Prometheus reads it.
    ///
    /// # Errors
    /// Never: it is written into memory.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_it_is_assigned_and_no_commit_is_stuck() {
        let metrics = Metrics::default();
        assert_eq!(metrics.unready(), Some("not assigned yet"));
        metrics.assigned();
        metrics.tick(0, 0, 0, STUCK_AFTER);
        assert_eq!(metrics.unready(), None);
        metrics.tick(0, 0, 0, STUCK_AFTER + Duration::from_secs(1));
        assert!(metrics.unready().is_some_and(|why| why.starts_with("a commit")));
        metrics.alive_at.store(0, Ordering::Relaxed);
        assert_eq!(metrics.unready(), Some("the loop hangs"));
    }

    #[test]
    fn a_report_says_what_was_committed_and_how_far_it_is() {
        let metrics = Metrics::default();
        let letter = |offset| Letter {
            topic: "product_views".to_owned(),
            partition: 0,
            offset,
            code: "wrong_type".to_owned(),
            message: String::new(),
            excerpt: String::new(),
        };
        for offset in 0..30 {
            let told = Told {
                topic: Event::ALL[0].topic().to_owned(),
                counts: Counts { read: 10, valid: 7, invalid: 2, tombstone: 1, absent: 0 },
                bytes: 100,
                files: 2,
                broken: BTreeMap::from([(Code::WrongType, Spoilt { records: 2, first: letter(offset) })]),
            };
            metrics.committed(told, Duration::ZERO);
        }
        metrics.lag("product_views", 3, 5, Some(0));
        metrics.lag("product_views", 4, 9, None);
        metrics.revoked("product_views", 4);
        let report = metrics.report();
        let of = &report.topics[0];
        assert_eq!((of.records, of.rows, of.tombstones, of.dead_letters), (300, 210, 30, 60));
        assert_eq!((of.bytes, of.files, report.commits, report.lag_records()), (3_000, 60, 30, 5));
        assert!(report.partitions[0].lag_secs > 0.0);
        let offsets: Vec<_> = report.letters.iter().map(|letter| letter.offset).collect();
        assert_eq!(offsets, (10..30).rev().collect::<Vec<_>>(), "the newest first");
    }
}
