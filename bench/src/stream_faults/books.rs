//! What the bucket holds, as any reader of it sees it, against what Kafka holds. Asks nothing of the worker's code but
//! the names and the form of manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use arrow::{
    array::AsArray,
    datatypes::{Int32Type, Int64Type},
};
use bucket::Bucket;
use bytes::Bytes;
use lake::{
    Event, Manifest,
    layout::{self, LogId},
};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};

use crate::stage::APP;

/// The longest that a round may take to be committed and visible.
const PATIENCE: Duration = Duration::from_secs(90);

type Partition = (Event, i32);

/// All that was seen so far.
#[derive(Debug)]
pub(super) struct Books {
    bucket: Bucket,
    /// Where each log is read to, and the start of its last manifest.
    heads: BTreeMap<Partition, (i64, Option<i64>)>,
    /// What the manifests name, with its rows.
    named: BTreeMap<String, u64>,
    /// Files that were read, and the offsets that readers have seen.
    read: BTreeSet<String>,
    seen: BTreeMap<Partition, BTreeSet<i64>>,
    pub(super) ranges: u64,
    pub(super) rows: u64,
    pub(super) dead_letters: u64,
}

impl Books {
    pub(super) fn new(bucket: Bucket, partitions: i32) -> Self {
        let all = Event::ALL.into_iter().flat_map(|event| (0..partitions).map(move |partition| (event, partition)));
        Self {
            bucket,
            heads: all.map(|partition| (partition, (0, None))).collect(),
            named: BTreeMap::new(),
            read: BTreeSet::new(),
            seen: BTreeMap::new(),
            ranges: 0,
            rows: 0,
            dead_letters: 0,
        }
    }

    /// Reads the manifests that are new. Whether everything in Kafka is committed.
    pub(super) async fn advance(&mut self, in_kafka: &BTreeMap<Partition, i64>) -> anyhow::Result<bool> {
        let mut is_all = true;
        for (partition, head) in &mut self.heads {
            let (event, number) = *partition;
            let log = LogId { app: APP.to_owned(), topic: event.topic().to_owned(), epoch: 1, partition: number };
            while let Some(json) = self.bucket.read(&log.manifest(head.0)).await? {
                let manifest: Manifest = serde_json::from_slice(&json)?;
                let name = log.manifest(head.0);
                ensure!(
                    manifest.start == head.0 && manifest.prev_start == head.1,
                    "{name} does not follow the one before"
                );
                if let Some(fault) = manifest.fault() {
                    bail!("{name}: {fault}");
                }
                ensure!(manifest.counts.absent == 0, "{name}: {} offsets are absent", manifest.counts.absent);
                for file in manifest.files.iter().chain(&manifest.dead_letters) {
                    self.named.insert(file.published.clone(), file.rows);
                }
                self.ranges += 1;
                *head = (manifest.end, Some(manifest.start));
            }
            is_all &= in_kafka.get(partition).is_none_or(|high| head.0 >= *high);
        }
        Ok(is_all)
    }

    /// Waits until everything is committed and visible, then reads what is new and holds it against Kafka.
    pub(super) async fn settle(&mut self, in_kafka: &BTreeMap<Partition, i64>) -> anyhow::Result<()> {
        let settled = tokio::time::timeout(PATIENCE, async {
            while !self.advance(in_kafka).await? {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            loop {
                let visible = self.visible().await?;
                if self.named.keys().all(|name| visible.contains(name)) {
                    return anyhow::Ok(visible);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let visible = settled
            .await
            .with_context(|| format!("not committed and visible after {PATIENCE:?}: {:?}", self.heads))??;
        for name in &visible {
            ensure!(self.named.contains_key(name), "readers see {name}, which no manifest names");
            if self.read.insert(name.clone()) {
                self.read_file(name).await?;
            }
        }
        for (partition, high) in in_kafka {
            let seen = self.seen.get(partition).map_or(0, BTreeSet::len);
            ensure!(seen as i64 == *high, "{partition:?}: {high} records were produced, readers see {seen}");
        }
        Ok(())
    }

    /// At any instant: what readers see is committed. Read the manifests after the listing.
    pub(super) async fn visible(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for prefix in ["events_data/", "_dlq/"] {
            names.extend(self.bucket.list(prefix, "").await?.into_iter().map(|object| object.name));
        }
        Ok(names)
    }

    async fn read_file(&mut self, name: &str) -> anyhow::Result<()> {
        let data = self.bucket.read(name).await?.with_context(|| format!("{name} was there and is not any more"))?;
        let event = Event::ALL.into_iter().find(|event| {
            name.starts_with(&format!("{}/", layout::events_prefix(*event)))
                || name.starts_with(&format!("_dlq/{event}/"))
        });
        let event = event.with_context(|| format!("{name} is of no event"))?;
        let places = places(data).with_context(|| format!("{name} cannot be read"))?;
        ensure!(self.named.get(name) == Some(&(places.len() as u64)), "{name} has {} rows", places.len());
        let count = places.len() as u64;
        for (partition, offset) in places {
            let is_new = self.seen.entry((event, partition)).or_default().insert(offset);
            ensure!(is_new, "{name}: readers see {event}/{partition}/{offset} twice");
        }
        if name.starts_with("_dlq/") {
            self.dead_letters += count;
        } else {
            self.rows += count;
        }
        Ok(())
    }
}

/// Partition and offset of every row.
fn places(data: Bytes) -> anyhow::Result<Vec<(i32, i64)>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(data)?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), ["kafka_partition", "kafka_offset"]);
    let mut places = Vec::new();
    for batch in reader.with_projection(mask).build()? {
        let batch = batch?;
        let (partitions, offsets) =
            (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_primitive::<Int64Type>());
        places.extend(partitions.values().iter().copied().zip(offsets.values().iter().copied()));
    }
    Ok(places)
}
