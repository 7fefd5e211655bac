//! The streaming worker: how fast records become files.

mod end_to_end;
mod in_process;
mod memory;
mod startup;

use clap::{Args, ValueEnum};
use lake::Event;
use local::state::State;
use serde::Serialize;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What is measured.
    #[arg(long, value_enum)]
    case: Case,
    /// Megabytes of JSON.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    megabytes: u64,
    /// The share of broken records.
    #[arg(long, default_value_t = 0.01)]
    invalid: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Case {
    /// Decode, validate and encode purchases: about 375 bytes each.
    Transactions,
    /// The same with views: about 86 bytes each.
    Views,
    /// Kafka → committed objects, all four events, through a worker of its own process.
    EndToEnd,
    /// The most that a worker holds: 200 partitions, records of 48 hours mixed, a bucket that takes 2 s for an upload.
    Memory,
    /// From the start of a worker to its first commit, with 10,000 manifests in the log.
    Startup,
}

/// What was measured, and the limit.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    case: String,
    events: u64,
    bytes_per_event: f64,
    mb_per_s: f64,
    events_per_s: f64,
    cpu_s_per_gb: f64,
    /// Of a parse of the same bytes, in the same process, on the same core.
    ratio_to_parse: f64,
    limit_mb_per_s: f64,
    files: usize,
    parquet_mb: f64,
    rows_read_back: u64,
    dead_letters_read_back: u64,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<serde_json::Value> {
    let bytes = options.megabytes * 1_000_000;
    Ok(match options.case {
        Case::Transactions => serde_json::to_value(in_process::run(Event::Transactions, bytes, options.invalid)?)?,
        Case::Views => serde_json::to_value(in_process::run(Event::Views, bytes, options.invalid)?)?,
        Case::EndToEnd => serde_json::to_value(end_to_end::run(bytes, options.invalid).await?)?,
        Case::Memory => serde_json::to_value(memory::run(bytes).await?)?,
        Case::Startup => serde_json::to_value(startup::run().await?)?,
    })
}

/// A folder for what is started.
fn state(name: &str) -> anyhow::Result<(std::path::PathBuf, State)> {
    let folder = std::env::current_dir()?.join("target").join(format!("{name}-{}", std::process::id()));
    let state = State::take(&folder)?;
    Ok((folder, state))
}
