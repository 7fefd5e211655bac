//! From the start of a worker to its first commit, when its logs are long.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use chrono::Utc;
use futures::{StreamExt, TryStreamExt};
use lake::{
    Event, Genesis, Manifest,
    layout::LogId,
    manifest::{Counts, RangeKind, VERSION},
};
use serde::Serialize;
use streaming::{producer, settings::ProducerOptions};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::stage::{APP, Stage};

const MANIFESTS: i64 = 10_000;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    case: &'static str,
    manifests: i64,
    /// From the start of the process to a commit that readers see; the first time, without a hint in Kafka.
    first_s: f64,
    /// The same once it has committed before.
    again_s: f64,
}

pub(super) async fn run() -> anyhow::Result<Line> {
    let (folder, state) = super::state("startup")?;
    let stage = Stage::start(state, 1).await?;
    let event = Event::Views;
    let log = LogId { app: APP.to_owned(), topic: event.topic().to_owned(), epoch: 1, partition: 0 };
    // As many records as there are manifests, so that Kafka has what they are about.
    produce(&stage, MANIFESTS as u64).await?;
    write_log(&stage, &log).await?;
    let first = time(&stage, &log, MANIFESTS).await?;
    let again = time(&stage, &log, MANIFESTS + 1).await?;
    stage.stop().await;
    std::fs::remove_dir_all(folder).ok();
    Ok(Line { case: "startup", manifests: MANIFESTS, first_s: first.as_secs_f64(), again_s: again.as_secs_f64() })
}

async fn produce(stage: &Stage, count: u64) -> anyhow::Result<()> {
    let kafka = stage.servers.clone();
    let options = ProducerOptions { kafka, rate: 0.0, invalid: 0.0, count: Some(count), partitions: 1 };
    producer::run(&options, CancellationToken::new()).await?;
    Ok(())
}

async fn write_log(stage: &Stage, log: &LogId) -> anyhow::Result<()> {
    let genesis = Genesis { v: VERSION, log: log.clone(), start: 0, topic_id: String::new(), created_at: Utc::now() };
    stage.bucket.create(&log.genesis(), Bytes::from(serde_json::to_vec(&genesis)?)).await?;
    let write = |start| async move {
        let manifest = Manifest {
            v: VERSION,
            log: log.clone(),
            kind: RangeKind::Skip,
            start,
            end: start + 1,
            prev_start: (start > 0).then(|| start - 1),
            ingestion_time: Utc::now(),
            writer: Uuid::new_v4(),
            files: Vec::new(),
            dead_letters: Vec::new(),
            counts: Counts { absent: 1, ..Counts::default() },
        };
        stage.bucket.create(&log.manifest(start), Bytes::from(serde_json::to_vec(&manifest)?)).await?;
        anyhow::Ok(())
    };
    futures::stream::iter(0..MANIFESTS).map(write).buffer_unordered(32).try_collect().await
}

/// Starts a worker for a new record, and waits until it is committed.
async fn time(stage: &Stage, log: &LogId, next: i64) -> anyhow::Result<Duration> {
    produce(stage, 1).await?;
    let began = Instant::now();
    let worker = stage.worker("worker", &stage.upstream, &["--rotate-rows", "1", "--session-timeout-secs", "1"])?;
    let committed = async {
        while stage.bucket.stat(&log.manifest(next)).await?.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), committed).await.context("the record was never committed")??;
    let took = began.elapsed();
    worker.stop(Duration::from_secs(10)).await;
    Ok(took)
}
