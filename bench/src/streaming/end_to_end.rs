//! Kafka → committed objects: what a worker of its own process uses of the processor, librdkafka's threads included,
//! Kafka and the bucket excluded.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;
use streaming::{commands::verify, producer, settings::ProducerOptions};
use tokio_util::sync::CancellationToken;

use crate::{
    cpu,
    stage::{APP, Stage},
};

const PARTITIONS: i32 = 2;

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    case: &'static str,
    events: u64,
    json_mb: f64,
    /// With everything on the same machine: what Kafka and the bucket take is missing to the worker.
    mb_per_s: f64,
    cpu_s_per_gb: f64,
    rss_peak_mb: f64,
    ranges: usize,
    rows_read_back: u64,
    dead_letters_read_back: u64,
}

pub(super) async fn run(bytes: u64, invalid: f64) -> anyhow::Result<Line> {
    /// Of the four events together, one of each.
    const BYTES_OF_ROUND: u64 = 780;
    let (folder, state) = super::state("end-to-end")?;
    let stage = Stage::start(state, PARTITIONS).await?;
    let count = Some(bytes / BYTES_OF_ROUND);
    let options = ProducerOptions { kafka: stage.servers.clone(), rate: 0.0, invalid, count, partitions: PARTITIONS };
    let produced = producer::run(&options, CancellationToken::new()).await?;

    let began = Instant::now();
    let worker = stage.worker("worker", &stage.upstream, &["--rotate-secs", "5"])?;
    let pid = worker.pid().context("the worker has ended")?;
    stage.all_committed(PARTITIONS, Duration::from_millis(200)).await?;
    let (took, cpu, rss_peak_mb) = (began.elapsed(), cpu::of(pid), rss_peak_mb(pid)?);
    worker.stop(Duration::from_secs(10)).await;

    let verdict = verify::verify(&stage.bucket, None, APP, 1, true).await?;
    ensure!(verdict.faults.is_empty(), "{:?}", verdict.faults);
    ensure!(verdict.rows + verdict.dead_letters == produced.records, "{} were produced: {verdict:?}", produced.records);
    stage.stop().await;
    std::fs::remove_dir_all(folder).ok();
    let megabytes = produced.bytes as f64 / 1e6;
    Ok(Line {
        case: "end-to-end",
        events: produced.records,
        json_mb: megabytes,
        mb_per_s: megabytes / took.as_secs_f64(),
        cpu_s_per_gb: cpu.as_secs_f64() / (megabytes / 1_000.0),
        rss_peak_mb,
        ranges: verdict.manifests,
        rows_read_back: verdict.rows,
        dead_letters_read_back: verdict.dead_letters,
    })
}

pub(super) fn rss_peak_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    // The kernel's kB are of 1,024 bytes.
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1_024.0 / 1e6)
}
