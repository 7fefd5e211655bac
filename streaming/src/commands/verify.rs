//! `streaming verify`: does the bucket hold what its manifests say, and nothing else?

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use arrow::{array::AsArray, datatypes::Int64Type};
use bucket::{Bucket, Object};
use futures::{StreamExt, TryStreamExt};
use lake::{Committed, Event, Manifest, layout};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde::Serialize;

use super::log::{self, Log};
use crate::{
    kafka::{self, ASK, Heard},
    rows::OFFSET_COLUMN,
    settings::KafkaOptions,
};

/// Files that are read at the same time.
const AT_ONCE: usize = 4;

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// Partitions with a commit log.
    pub partitions: usize,
    /// Manifests.
    pub manifests: usize,
    /// Files that they name.
    pub files: usize,
    /// Rows that they name.
    pub rows: u64,
    /// Dead letters that they name.
    pub dead_letters: u64,
    /// Files that are committed and that readers do not see yet: a worker that takes the partition over publishes them.
    pub unpublished: usize,
    /// What is wrong, each with its object.
    pub faults: Vec<String>,
}

/// Holds the bucket against its manifests, and these against Kafka. `deep` reads every file.
///
/// # Errors
/// The bucket or Kafka cannot be reached.
pub async fn verify(
    bucket: &Bucket,
    kafka: Option<&KafkaOptions>,
    app: &str,
    epoch: u32,
    deep: bool,
) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::default();
    let kafka = kafka.map(kafka::connect).transpose()?;
    for event in Event::ALL {
        let logs = log::of_topic(bucket, app, event, epoch).await?;
        let visible = visible(bucket, event, epoch).await?;
        let mut named = BTreeSet::new();
        for log in &logs {
            verdict.partitions += 1;
            verdict.faults.extend(chain_faults(log));
            if let Some(kafka) = &kafka {
                verdict.faults.extend(kafka_fault(kafka, log)?);
            }
            for manifest in &log.manifests {
                verdict.manifests += 1;
                verdict.rows += manifest.counts.valid;
                verdict.dead_letters += manifest.counts.invalid;
                for file in manifest.files.iter().chain(&manifest.dead_letters) {
                    verdict.files += 1;
                    named.insert(file.published.as_str());
                    look_for(bucket, file, &visible, &mut verdict).await?;
                }
            }
            if deep {
                verdict.faults.extend(contents(bucket, log, &visible).await?);
            }
        }
        let strangers = visible.keys().filter(|name| !named.contains(name.as_str()));
        verdict.faults.extend(strangers.map(|name| format!("{name}: readers see it, but no manifest names it")));
    }
    Ok(verdict)
}

/// What readers see of an event, of this incarnation of its topic.
async fn visible(bucket: &Bucket, event: Event, epoch: u32) -> anyhow::Result<BTreeMap<String, Object>> {
    let (rows, dead) = (format!("{}/", layout::events_prefix(event)), format!("_dlq/{event}/"));
    let mut objects = bucket.list(&rows, "").await?;
    objects.extend(bucket.list(&dead, "").await?);
    let ours = format!("/{}.{epoch}.", event.topic());
    Ok(objects
        .into_iter()
        .filter(|object| object.name.contains(&ours))
        .map(|object| (object.name.clone(), object))
        .collect())
}

/// Every manifest starts where the one before ended, and accounts for all of its offsets.
fn chain_faults(log: &Log) -> Vec<String> {
    let mut faults = Vec::new();
    let mut next = log.genesis.as_ref().map(|genesis| genesis.start);
    if next.is_none() {
        faults.push(format!("{}: there are manifests, but no genesis", log.id.folder()));
    }
    let mut before = None;
    for manifest in &log.manifests {
        let name = log.id.manifest(manifest.start);
        faults.extend(manifest.fault().map(|fault| format!("{name}: {fault}")));
        if let Some(next) = next.filter(|next| *next != manifest.start) {
            faults.push(format!("{name}: the one before ends at {next}"));
        }
        if manifest.prev_start != before {
            faults.push(format!("{name}: it names {:?} as the one before, which is {before:?}", manifest.prev_start));
        }
        (next, before) = (Some(manifest.end), Some(manifest.start));
    }
    faults
}

fn kafka_fault(kafka: &BaseConsumer<Heard>, log: &Log) -> anyhow::Result<Option<String>> {
    let (topic, partition) = (&log.id.topic, log.id.partition);
    let watermarks = kafka.fetch_watermarks(topic, partition, ASK);
    let (low, high) = watermarks.with_context(|| format!("Kafka says nothing of {topic}/{partition}"))?;
    let Some(next) = log.next() else { return Ok(None) };
    Ok(match next {
        _ if next > high => Some(format!("{topic}/{partition}: committed up to {next}, but Kafka ends at {high}")),
        _ if next < low => Some(format!("{topic}/{partition}: {next}..{low} are gone from Kafka and were not read")),
        _ => None,
    })
}

async fn look_for(
    bucket: &Bucket,
    file: &Committed,
    visible: &BTreeMap<String, Object>,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    match visible.get(&file.published) {
        Some(object) if object.crc32c == file.crc32c => {}
        Some(_) => verdict.faults.push(format!("{}: it holds something else than its manifest says", file.published)),
        None if bucket.stat(&file.staging).await?.is_some() => verdict.unpublished += 1,
        None => verdict.faults.push(format!("{}: it is committed, and it is nowhere", file.published)),
    }
    Ok(())
}

/// Reads the files of a log: their rows, and that every offset is there once.
async fn contents(bucket: &Bucket, log: &Log, visible: &BTreeMap<String, Object>) -> anyhow::Result<Vec<String>> {
    let ranges =
        futures::stream::iter(&log.manifests).map(async |manifest| range_faults(bucket, manifest, visible).await);
    let faults: Vec<Vec<String>> = ranges.buffered(AT_ONCE).try_collect().await?;
    Ok(faults.concat())
}

async fn range_faults(
    bucket: &Bucket,
    manifest: &Manifest,
    visible: &BTreeMap<String, Object>,
) -> anyhow::Result<Vec<String>> {
    let (mut faults, mut seen) = (Vec::new(), BTreeSet::new());
    let files = manifest.files.iter().chain(&manifest.dead_letters);
    for file in files.filter(|file| visible.contains_key(&file.published)) {
        let Some(data) = bucket.read(&file.published).await? else { continue };
        let offsets = offsets(data).with_context(|| format!("{} cannot be read", file.published))?;
        if offsets.len() as u64 != file.rows {
            faults.push(format!("{}: {} rows, and the manifest says {}", file.published, offsets.len(), file.rows));
        }
        for offset in offsets {
            if !(manifest.start..manifest.end).contains(&offset) {
                faults.push(format!("{}: the offset {offset} is not of its range", file.published));
            }
            if !seen.insert(offset) {
                faults.push(format!("{}: the offset {offset} stands twice in its range", file.published));
            }
        }
    }
    Ok(faults)
}

fn offsets(data: bytes::Bytes) -> anyhow::Result<Vec<i64>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(data)?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), [OFFSET_COLUMN]);
    let mut offsets = Vec::new();
    for batch in reader.with_projection(mask).build()? {
        offsets.extend_from_slice(batch?.column(0).as_primitive::<Int64Type>().values());
    }
    Ok(offsets)
}
