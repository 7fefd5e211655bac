//! `streaming status`: how far each partition is.

use bucket::Bucket;
use chrono::{DateTime, Utc};
use lake::{Event, manifest::RangeKind};
use rdkafka::consumer::Consumer;
use serde::Serialize;

use super::log;
use crate::{kafka, settings::KafkaOptions};

/// One partition.
#[derive(Clone, Debug, Serialize)]
pub struct Partition {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The offset after the last committed one; none if nothing has been begun.
    pub committed: Option<i64>,
    /// The offset after the last one in Kafka.
    pub in_kafka: i64,
    /// Records that are not committed yet.
    pub lag: i64,
    /// When the rows of the last range were read.
    pub last_commit: Option<DateTime<Utc>>,
    /// Committed ranges.
    pub ranges: usize,
    /// Committed rows.
    pub rows: u64,
    /// Committed dead letters.
    pub dead_letters: u64,
    /// Offsets that retention took before they were read.
    pub lost: u64,
    /// Offsets that an operator left out.
    pub skipped: u64,
}

/// How far every partition is.
///
/// # Errors
/// The bucket or Kafka cannot be reached.
pub async fn status(bucket: &Bucket, kafka: &KafkaOptions, app: &str, epoch: u32) -> anyhow::Result<Vec<Partition>> {
    let consumer = kafka::connect(kafka)?;
    let mut all = Vec::new();
    for event in Event::ALL {
        let logs = log::of_topic(bucket, app, event, epoch).await?;
        for partition in kafka::partitions(&consumer, event.topic())? {
            let (low, high) = consumer.fetch_watermarks(event.topic(), partition, kafka::ASK)?;
            let log = logs.iter().find(|log| log.id.partition == partition);
            let manifests = log.map(|log| log.manifests.as_slice()).unwrap_or_default();
            let committed = log.and_then(log::Log::next);
            let of = |kind| manifests.iter().filter(move |manifest| manifest.kind == kind);
            let offsets = |kind| of(kind).map(|manifest| manifest.counts.absent).sum();
            all.push(Partition {
                topic: event.topic().to_owned(),
                partition,
                committed,
                in_kafka: high,
                lag: high - committed.unwrap_or(low).max(low),
                last_commit: of(RangeKind::Data).next_back().map(|manifest| manifest.ingestion_time),
                ranges: manifests.len(),
                rows: manifests.iter().map(|manifest| manifest.counts.valid).sum(),
                dead_letters: manifests.iter().map(|manifest| manifest.counts.invalid).sum(),
                lost: offsets(RangeKind::Gap),
                skipped: offsets(RangeKind::Skip),
            });
        }
    }
    Ok(all)
}
