//! What objects are called.
//!
//! ```text
//! events_data/<event>/year=2026/month=7/day=21/hour=7/<topic>.<epoch>.<partition>.<start>-<end>.<k>.parquet
//! _dlq/<event>/year=…/<the same>                    what could not be decoded, of the same range
//! _staging/<app>/<uuid>.parquet                     uploaded, not committed; goes after 30 days
//! _commits/<app>/<topic>@<epoch>/<partition>/_genesis.json
//! _commits/<app>/<topic>@<epoch>/<partition>/<start>.json
//! _schemas/<event>/<number>.json                    the columns of its files, since a version of the program
//! ```
//!
//! Hive values are unpadded, as the Spark job wrote them. Offsets are padded, so that names sort as numbers.

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::Event;

/// The partition of a topic, in one incarnation of the topic, as one application reads it: what a commit log is about.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct LogId {
    /// The application: worker groups of one name share a log.
    pub app: String,
    /// The Kafka topic.
    pub topic: String,
    /// Raised by an operator when the topic was made anew.
    pub epoch: u32,
    /// The Kafka partition.
    pub partition: i32,
}

impl LogId {
    /// The folder of the log.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("_commits/{}/{}@{}/{:05}/", self.app, self.topic, self.epoch, self.partition)
    }

    /// The object that begins the log.
    #[must_use]
    pub fn genesis(&self) -> String {
        format!("{}_genesis.json", self.folder())
    }

    /// The object that commits the range from `start`.
    #[must_use]
    pub fn manifest(&self, start: i64) -> String {
        format!("{}{start:020}.json", self.folder())
    }
}

/// The folder of all logs of a topic, of every partition.
#[must_use]
pub fn logs_of_topic(app: &str, topic: &str, epoch: u32) -> String {
    format!("_commits/{app}/{topic}@{epoch}/")
}

/// The start offset that a manifest's name says, if it is the name of one.
#[must_use]
pub fn start_of_manifest(object: &str) -> Option<i64> {
    let digits = object.rsplit('/').next()?.strip_suffix(".json")?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// The folder of all schemas that an event has had.
#[must_use]
pub fn schemas_of(event: Event) -> String {
    format!("_schemas/{event}/")
}

/// The schema of an event with that number; padded, so that names sort as numbers.
#[must_use]
pub fn schema(event: Event, number: u32) -> String {
    format!("{}{number:06}.json", schemas_of(event))
}

/// A new object for data that is not committed yet.
#[must_use]
pub fn staging(app: &str, id: Uuid) -> String {
    format!("_staging/{app}/{id}.parquet")
}

/// Where the rows of an event are.
#[must_use]
pub fn events_prefix(event: Event) -> String {
    format!("events_data/{event}")
}

/// The range of offsets that a file is of, and which of the range's files it is.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The log.
    pub log: &'a LogId,
    /// The first offset of the range.
    pub start: i64,
    /// The offset after the last of the range.
    pub end: i64,
    /// Which file of the range.
    pub number: u32,
}

/// The final name of a file of rows.
#[must_use]
pub fn events(event: Event, hour: DateTime<Utc>, part: Part<'_>) -> String {
    format!("{}/{}/{}", events_prefix(event), hive(hour), file(part))
}

/// The final name of a file of dead letters.
#[must_use]
pub fn dead_letters(event: Event, hour: DateTime<Utc>, part: Part<'_>) -> String {
    format!("_dlq/{event}/{}/{}", hive(hour), file(part))
}

fn hive(hour: DateTime<Utc>) -> String {
    format!("year={}/month={}/day={}/hour={}", hour.year(), hour.month(), hour.day(), hour.hour())
}

fn file(part: Part<'_>) -> String {
    let Part { log, start, end, number } = part;
    format!("{}.{}.{:05}.{start:020}-{end:020}.{number:03}.parquet", log.topic, log.epoch, log.partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LogId {
        LogId { app: "shop".into(), topic: "product_views".into(), epoch: 1, partition: 3 }
    }

    #[test]
    fn names_are_as_the_contract_says() {
        let hour = "2026-07-21T07:59:59Z".parse().unwrap();
        let part = Part { log: &log(), start: 100, end: 250, number: 0 };
        assert_eq!(
            events(Event::Views, hour, part),
            "events_data/views/year=2026/month=7/day=21/hour=7/\
             product_views.1.00003.00000000000000000100-00000000000000000250.000.parquet"
        );
        assert_eq!(log().genesis(), "_commits/shop/product_views@1/00003/_genesis.json");
    }

    #[test]
    fn a_manifest_tells_its_start_and_nothing_else_does() {
        assert_eq!(start_of_manifest(&log().manifest(42)), Some(42));
        assert_eq!(start_of_manifest(&log().genesis()), None);
        assert_eq!(start_of_manifest("_commits/shop/1.json"), None);
    }
}
