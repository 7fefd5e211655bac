//! The streaming worker: how fast records become files.

mod in_process;

use clap::{Args, ValueEnum};
use lake::Event;
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

pub(crate) fn run(options: &Options) -> anyhow::Result<Line> {
    let event = match options.case {
        Case::Transactions => Event::Transactions,
        Case::Views => Event::Views,
    };
    in_process::run(event, options.megabytes * 1_000_000, options.invalid)
}
