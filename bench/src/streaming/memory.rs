//! The most that a worker holds, at its worst: 200 partitions, records of 48 hours mixed, and a bucket that is slow.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::Utc;
use lake::Event;
use rand::RngExt;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde::Serialize;
use streaming::{commands::verify, kafka, producer, shop};

use super::end_to_end::rss_peak_mb;
use crate::{
    gate::{Gate, Harm, Step},
    stage::{APP, Stage},
};

/// Of each of the four topics.
const PARTITIONS: i32 = 50;
const HOURS: i64 = 48;

/// How long the bucket takes for each upload.
const UPLOAD: Duration = Duration::from_secs(2);

/// What the worker may hold.
const MEMORY_BYTES: u64 = 256 << 20;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    case: &'static str,
    events: u64,
    json_mb: f64,
    memory_mb: f64,
    rss_peak_mb: f64,
    over_mb: f64,
    files: usize,
    rows_read_back: u64,
}

pub(super) async fn run(bytes: u64) -> anyhow::Result<Line> {
    let (folder, state) = super::state("memory")?;
    let stage = Stage::start(state, PARTITIONS).await?;
    let (events, produced) = produce(&stage, bytes).await?;
    let (gate, port) = Gate::open(&stage.upstream).await?;
    gate.set(Step::Upload, Harm::Slow(UPLOAD), u32::MAX);

    let memory = MEMORY_BYTES.to_string();
    let arguments = ["--memory-bytes", &memory, "--time-of", "record", "--rotate-secs", "30"];
    let worker = stage.worker("worker", &format!("http://127.0.0.1:{port}"), &arguments)?;
    let pid = worker.pid().context("the worker has ended")?;
    stage.all_committed(PARTITIONS, Duration::from_secs(2)).await?;
    let rss_peak_mb = rss_peak_mb(pid)?;
    worker.stop(Duration::from_secs(10)).await;

    let verdict = verify::verify(&stage.bucket, None, APP, 1, false).await?;
    ensure!(verdict.faults.is_empty(), "{:?}", verdict.faults);
    ensure!(verdict.rows == events, "{events} were produced: {verdict:?}");
    stage.stop().await;
    std::fs::remove_dir_all(folder).ok();
    let memory_mb = MEMORY_BYTES as f64 / 1e6;
    Ok(Line {
        case: "memory",
        events,
        json_mb: produced as f64 / 1e6,
        memory_mb,
        rss_peak_mb,
        over_mb: rss_peak_mb - memory_mb,
        files: verdict.files,
        rows_read_back: verdict.rows,
    })
}

/// Spreads records over all partitions and hours. How many, and of how many bytes.
async fn produce(stage: &Stage, bytes: u64) -> anyhow::Result<(u64, u64)> {
    let producer: ThreadedProducer<DefaultProducerContext> =
        kafka::config(&stage.servers).set("compression.type", "lz4").set("linger.ms", "20").create()?;
    let (mut events, mut produced) = (0, 0);
    while produced < bytes {
        for event in Event::ALL {
            let (message, partition, hour) = {
                let mut rng = rand::rng();
                (shop::valid(event, &mut rng), rng.random_range(0..PARTITIONS), rng.random_range(0..HOURS))
            };
            let timestamp = Utc::now().timestamp_millis() - hour * 3_600_000;
            let record = BaseRecord::to(event.topic()).partition(partition).timestamp(timestamp);
            producer::send(&producer, record.key(&message.key).payload(&message.value)).await?;
            events += 1;
            produced += message.value.len() as u64;
        }
    }
    tokio::task::spawn_blocking(move || producer.flush(kafka::ASK)).await??;
    Ok((events, produced))
}
