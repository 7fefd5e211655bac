//! What a streaming worker tells the orchestrator of itself, so that a page can show it.

use serde::{Deserialize, Serialize};

/// A worker, as it is now. What is counted is counted since it started. What an older one does not tell is nothing, and what a
/// newer one tells is passed over.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Its name.
    pub worker: String,
    /// The consumer group, and the name of the commit logs.
    pub app: String,
    /// The epoch of the commit logs.
    pub epoch: u32,
    /// Whether it has joined the others and its loop comes round.
    pub is_ready: bool,
    /// Whether it has ended, as it was told to.
    pub has_stopped: bool,
    /// What it has committed of each topic.
    pub topics: Vec<OfTopic>,
    /// How far it has read the partitions that are its.
    pub partitions: Vec<OfPartition>,
    /// Ranges that it has committed.
    pub commits: u64,
    /// Ranges that somebody else had committed.
    pub lost_commits: u64,
    /// Bytes held in memory, without Kafka's queue.
    pub held_bytes: i64,
    /// Bytes that may be held.
    pub budget_bytes: i64,
    /// Files that are being written.
    pub open_files: i64,
    /// The share of dead letters in the records read lately, from 0 to 1.
    pub dead_letter_share: f64,
    /// Whether that share is over what it may be.
    pub is_alarmed: bool,
    /// The latest committed dead letters, the newest first: of each range the first of its kind.
    pub letters: Vec<Letter>,
}

/// What was committed of a topic.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OfTopic {
    /// Its name.
    pub topic: String,
    /// Records.
    pub records: u64,
    /// Records that became rows.
    pub rows: u64,
    /// Records without a value.
    pub tombstones: u64,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Bytes of the values of the records.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// How far a partition is read.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OfPartition {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Records that Kafka has and that are not read.
    pub lag_records: i64,
    /// How long ago the last record read was produced, if there are others; in seconds.
    pub lag_secs: f64,
}

/// A dead letter, as far as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Letter {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// What is wrong, for programs.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    /// How its value begins.
    pub excerpt: String,
}

impl Report {
    /// Records that were committed, of all topics.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.topics.iter().fold(0, |sum, of| sum.saturating_add(of.records))
    }

    /// Records that Kafka has and that are not read, of all partitions.
    #[must_use]
    pub fn lag_records(&self) -> i64 {
        self.partitions.iter().fold(0, |sum, of| sum.saturating_add(of.lag_records))
    }
}
