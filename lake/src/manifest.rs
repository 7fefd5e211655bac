//! The commit log of one Kafka partition: a genesis, then manifests without a hole between them. Creating a manifest
//! is the commit; whoever comes second loses.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::layout::LogId;

/// The version of the format.
pub const VERSION: u32 = 1;

/// The beginning of a log. Its name is fixed, so every start policy races for the same object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Genesis {
    /// The version of the format.
    pub v: u32,
    /// The log.
    #[serde(flatten)]
    pub log: LogId,
    /// The first offset that is read.
    pub start: i64,
    /// Kafka's id of the topic: another one is another topic of the same name. Empty if the broker told none.
    pub topic_id: String,
    /// When the log was begun.
    pub created_at: DateTime<Utc>,
}

/// One committed range of offsets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub v: u32,
    /// The log.
    #[serde(flatten)]
    pub log: LogId,
    /// What the range is.
    pub kind: RangeKind,
    /// The first offset.
    pub start: i64,
    /// The offset after the last one: where the next manifest starts.
    pub end: i64,
    /// The start of the manifest before; none for the first.
    pub prev_start: Option<i64>,
    /// The instant that all rows of the range carry.
    pub ingestion_time: DateTime<Utc>,
    /// The attempt that wrote it.
    pub writer: Uuid,
    /// Files of rows.
    pub files: Vec<Committed>,
    /// Files of dead letters.
    pub dead_letters: Vec<Committed>,
    /// What became of the offsets.
    pub counts: Counts,
}

/// What a range of offsets is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeKind {
    /// It was read.
    Data,
    /// Kafka had dropped it before it was read: a loss, written down.
    Gap,
    /// An operator decided to leave it out.
    Skip,
}

/// A file that a manifest commits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Committed {
    /// Where it was uploaded.
    pub staging: String,
    /// The generation of that upload.
    pub staging_generation: i64,
    /// Where it is published.
    #[serde(rename = "final")]
    pub published: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its checksum.
    pub crc32c: u32,
    /// The first offset in it.
    pub first_offset: i64,
    /// The last offset in it.
    pub last_offset: i64,
}

/// What became of the offsets of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Records that were read.
    pub read: u64,
    /// Records that became rows.
    pub valid: u64,
    /// Records that became dead letters.
    pub invalid: u64,
    /// Records without a value.
    pub tombstone: u64,
    /// Offsets that Kafka gave no record for: transaction markers, compaction.
    pub absent: u64,
}

impl Manifest {
    /// What is wrong with it, if anything: every offset of the range must be accounted for, once.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let counts = self.counts;
        let rows = |files: &[Committed]| files.iter().map(|file| file.rows).sum::<u64>();
        let length = u64::try_from(self.end - self.start).unwrap_or(0);
        let checks = [
            (self.end > self.start, "the range is empty"),
            (self.kind != RangeKind::Data || counts.read + counts.absent == length, "offsets are not accounted for"),
            (counts.read == counts.valid + counts.invalid + counts.tombstone, "records are not accounted for"),
            (rows(&self.files) == counts.valid, "the files hold other rows than were valid"),
            (rows(&self.dead_letters) == counts.invalid, "the dead letters are other than the invalid records"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, fault)| fault.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            v: VERSION,
            log: LogId { app: "shop".into(), topic: "product_views".into(), epoch: 1, partition: 0 },
            kind: RangeKind::Data,
            start: 10,
            end: 20,
            prev_start: None,
            ingestion_time: DateTime::UNIX_EPOCH,
            writer: Uuid::nil(),
            files: vec![Committed {
                staging: "s".into(),
                staging_generation: 1,
                published: "p".into(),
                rows: 9,
                bytes: 1,
                crc32c: 0,
                first_offset: 10,
                last_offset: 19,
            }],
            dead_letters: Vec::new(),
            counts: Counts { read: 9, valid: 9, absent: 1, ..Counts::default() },
        }
    }

    #[test]
    fn every_offset_is_accounted_for() {
        assert_eq!(manifest().fault(), None);
        let lost = Manifest { end: 21, ..manifest() };
        assert_eq!(lost.fault().as_deref(), Some("offsets are not accounted for"));
        let invented = Manifest { counts: Counts { read: 10, absent: 0, ..manifest().counts }, ..manifest() };
        assert_eq!(invented.fault().as_deref(), Some("records are not accounted for"));
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let json = serde_json::to_value(manifest()).unwrap();
        assert_eq!(json["topic"], "product_views");
        assert_eq!(json["files"][0]["final"], "p");
        assert_eq!(serde_json::from_value::<Manifest>(json).unwrap(), manifest());
    }
}
