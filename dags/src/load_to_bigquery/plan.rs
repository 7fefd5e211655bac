//! Which files come next: what the manifests name after the ledger, without a hole, and only what is published.

use std::collections::BTreeMap;

use anyhow::Context;
use bucket::Bucket;
use lake::{Event, Manifest, layout};
use orchestrator::context::FailWithoutRetry;

use super::batch::{Batch, Ledger, Offsets, Range};

/// Files of one run; the rest is the next run's. `BigQuery` takes 10,000 URIs.
const FILES_MAX: usize = 2_000;

/// The commit logs of one application in a bucket.
#[derive(Clone, Debug)]
pub(super) struct Lake {
    pub(super) bucket: Bucket,
    pub(super) app: String,
    pub(super) epoch: u32,
}

/// Reads the manifests after the ledger, and plans the batch.
pub(super) async fn next_batch(lake: &Lake, event: Event, ledger: &Ledger) -> anyhow::Result<Batch> {
    if let Some(loaded) = ledger.epoch.filter(|loaded| *loaded != lake.epoch) {
        // The facts' key has no epoch: rows of a topic that was made anew would take the place of older ones.
        let text = format!(
            "{event} is loaded from epoch {loaded} of its topic; loading epoch {} too is not supported yet",
            lake.epoch
        );
        return Err(FailWithoutRetry(text).into());
    }
    let logs = layout::logs_of_topic(&lake.app, event.topic(), lake.epoch);
    let mut by_partition: BTreeMap<i32, Vec<Manifest>> = BTreeMap::new();
    for object in lake.bucket.list(&logs, "").await? {
        let Some(start) = layout::start_of_manifest(&object.name) else { continue };
        let Some(partition) = partition_of(&object.name, &logs) else { continue };
        if start >= ledger.offsets.get(&partition).copied().unwrap_or(0) {
            let manifest = read(&lake.bucket, &object.name).await?;
            by_partition.entry(partition).or_default().push(manifest);
        }
    }
    let mut published = Vec::new();
    for manifests in by_partition.into_values() {
        published.extend(published_prefix(&lake.bucket, manifests).await?);
    }
    Ok(plan(lake.bucket.name(), lake.epoch, event, ledger, published))
}

async fn read(bucket: &Bucket, object: &str) -> anyhow::Result<Manifest> {
    let contents = bucket.read(object).await?.with_context(|| format!("{object} is gone"))?;
    serde_json::from_slice(&contents).with_context(|| format!("{object} cannot be read"))
}

fn partition_of(object: &str, logs: &str) -> Option<i32> {
    object.strip_prefix(logs)?.split('/').next()?.parse().ok()
}

/// The manifests whose files are all where readers see them. The worker publishes a range before it commits the next,
/// so only the last one of a partition can be unpublished.
async fn published_prefix(bucket: &Bucket, mut manifests: Vec<Manifest>) -> anyhow::Result<Vec<Manifest>> {
    manifests.sort_by_key(|manifest| manifest.start);
    if let Some(last) = manifests.last() {
        for file in &last.files {
            if bucket.stat(&file.published).await?.is_none() {
                manifests.pop();
                break;
            }
        }
    }
    Ok(manifests)
}

/// Takes manifests, oldest first, until there are files enough.
fn plan(bucket: &str, epoch: u32, event: Event, ledger: &Ledger, mut manifests: Vec<Manifest>) -> Batch {
    manifests.sort_by_key(|manifest| (manifest.ingestion_time, manifest.log.partition, manifest.start));
    let mut batch = Batch {
        event,
        old: ledger.batch,
        number: ledger.batch + 1,
        id: String::new(),
        files: Vec::new(),
        rows: 0,
        ranges: Vec::new(),
        epoch,
        offsets: ledger.offsets.clone(),
    };
    // A partition that the ledger does not know begins where its log does, whatever the clock said.
    let mut expected = ledger.offsets.clone();
    for manifest in manifests.iter().filter(|manifest| !ledger.offsets.contains_key(&manifest.log.partition)) {
        let first = expected.entry(manifest.log.partition).or_insert(manifest.start);
        *first = (*first).min(manifest.start);
    }
    for manifest in manifests {
        let partition = manifest.log.partition;
        let follows = expected.get(&partition) == Some(&manifest.start);
        if batch.files.len() + manifest.files.len() > FILES_MAX || !follows {
            continue;
        }
        batch.files.extend(manifest.files.iter().map(|file| format!("gs://{bucket}/{}", file.published)));
        batch.rows += manifest.counts.valid;
        batch.offsets.insert(partition, manifest.end);
        expected.insert(partition, manifest.end);
        extend(&mut batch.ranges, Range { partition, start: manifest.start, end: manifest.end });
    }
    batch.id = id_of(event, &batch.ranges, &batch.offsets);
    batch
}

/// Ranges that follow each other become one.
fn extend(ranges: &mut Vec<Range>, next: Range) {
    match ranges.iter_mut().find(|range| range.partition == next.partition && range.end == next.start) {
        Some(range) => range.end = next.end,
        None => ranges.push(next),
    }
}

fn id_of(event: Event, ranges: &[Range], offsets: &Offsets) -> String {
    let mut ranges: Vec<_> =
        ranges.iter().map(|range| format!("{}.{}-{}", range.partition, range.start, range.end)).collect();
    ranges.sort();
    format!("{event}:{}:{}", ranges.join(","), offsets.values().sum::<i64>())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lake::{
        Committed,
        layout::LogId,
        manifest::{Counts, RangeKind, VERSION},
    };

    use super::*;

    fn manifest(partition: i32, start: i64, end: i64, at: i64) -> Manifest {
        let file = Committed {
            staging: String::new(),
            staging_generation: 1,
            published: format!("f{partition}-{start}"),
            rows: (end - start) as u64,
            bytes: 1,
            crc32c: 0,
            first_offset: start,
            last_offset: end - 1,
        };
        let counts = Counts { read: file.rows, valid: file.rows, ..Counts::default() };
        Manifest {
            v: VERSION,
            log: LogId { app: "a".into(), topic: "product_views".into(), epoch: 1, partition },
            kind: RangeKind::Data,
            start,
            end,
            prev_start: None,
            ingestion_time: DateTime::from_timestamp(at, 0).unwrap(),
            writer: Default::default(),
            files: vec![file],
            dead_letters: Vec::new(),
            counts,
        }
    }

    #[test]
    fn a_batch_takes_what_follows_the_ledger_without_a_hole() {
        let ledger = Ledger { batch: 4, epoch: Some(1), offsets: [(0, 10)].into() };
        // Partition 0 lacks 20..30; partition 1 is new and begins at 5.
        let manifests = vec![manifest(0, 30, 40, 3), manifest(1, 5, 9, 2), manifest(0, 10, 20, 1)];
        let batch = plan("b", 1, Event::Views, &ledger, manifests);
        assert_eq!((batch.old, batch.number, batch.rows), (4, 5, 14));
        assert_eq!(batch.files, ["gs://b/f0-10", "gs://b/f1-5"]);
        assert_eq!(batch.offsets, [(0, 20), (1, 9)].into());
    }

    #[test]
    fn neighbouring_ranges_become_one_and_the_id_names_the_contents() {
        let ledger = Ledger::default();
        let manifests = vec![manifest(0, 0, 5, 1), manifest(0, 5, 9, 2)];
        let batch = plan("b", 1, Event::Views, &ledger, manifests.clone());
        assert_eq!(batch.ranges, [Range { partition: 0, start: 0, end: 9 }]);
        assert_eq!(batch.id, plan("b", 1, Event::Views, &ledger, manifests).id);
        assert_ne!(batch.id, plan("b", 1, Event::Views, &ledger, vec![manifest(0, 0, 5, 1)]).id);
    }

    #[test]
    fn the_rest_is_the_next_runs() {
        let manifests = (0..2_500).map(|at| manifest(0, at, at + 1, at)).collect();
        let batch = plan("b", 1, Event::Views, &Ledger::default(), manifests);
        assert_eq!((batch.files.len(), batch.offsets[&0]), (FILES_MAX, 2_000));
    }
}
