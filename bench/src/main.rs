//! The benchmarks. Each prints one line of JSON, with the limit measured in the same run. See `bench/README.md`.

mod bars;
mod cpu;
mod engine;
mod faults;
mod gate;
mod history;
mod idle;
mod share;
mod stage;
mod standalone;
mod stopwatch;
mod stream_faults;
mod streaming;
mod under_test;
mod web;

use std::{io::Write, process::ExitCode};

use anyhow::ensure;
use clap::{Parser, Subcommand};
use serde::Serialize;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The engine: how long a hop takes, and how many tasks a second it ends.
    Engine(engine::Options),
    /// All that the engine must reach; fails if a bar is missed.
    Bars(bars::Options),
    /// Faults: whether the books are right after processes died and the database went away.
    Faults(faults::Options),
    /// Which share of the slots two DAGs get of which one has thousands of tasks ready.
    Share(share::Options),
    /// What `standalone` costs while nothing happens.
    Idle(idle::Options),
    /// The API and the pages, with a database full of history.
    Web(web::Options),
    /// The streaming worker: how fast records become files.
    Streaming(streaming::Options),
    /// The same for the streaming worker: whether the bucket is right.
    StreamFaults(stream_faults::Options),
    /// A process of `faults`, to be killed.
    #[command(hide = true)]
    Node(faults::node::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(ended) = standalone::be_one() {
        return Ok(ended);
    }
    // One TLS provider for everything, before anything connects. Fails only if there is one already.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    // The main thread starts the children: the kernel ends them with it.
    tokio::runtime::Runtime::new()?.block_on(bench())?;
    Ok(ExitCode::SUCCESS)
}

async fn bench() -> anyhow::Result<()> {
    let line = match Arguments::parse().command {
        Command::Engine(options) => serde_json::to_string(&engine::run(&options).await?)?,
        Command::Bars(options) => {
            let figures = bars::run(&options).await?;
            return hold(&figures, &figures.missed);
        }
        Command::Faults(options) => serde_json::to_string(&faults::run(&options).await?)?,
        Command::Share(options) => serde_json::to_string(&share::run(&options).await?)?,
        Command::Idle(options) => serde_json::to_string(&idle::run(&options).await?)?,
        Command::Web(options) => {
            let figures = web::run(&options).await?;
            return hold(&figures, &figures.missed);
        }
        Command::Streaming(options) => serde_json::to_string(&streaming::run(&options).await?)?,
        Command::StreamFaults(options) => serde_json::to_string(&Box::pin(stream_faults::run(&options)).await?)?,
        Command::Node(options) => return Box::pin(faults::node::run(&options)).await,
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

/// Prints figures, and fails if bars were not reached.
fn hold(figures: &impl Serialize, missed: &[String]) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string(figures)?)?;
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}
