//! The benchmarks. Each prints one line of JSON, with the limit measured in the same run. See `bench/README.md`.

mod cpu;
mod engine;
mod history;
mod stopwatch;

use std::io::Write;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The engine: how long a hop takes, and how many tasks a second it ends.
    Engine(engine::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Command::Engine(options) = Arguments::parse().command;
    let figures = engine::run(&options).await?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?;
    Ok(())
}
