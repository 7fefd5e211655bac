//! The benchmarks. Each prints one line of JSON, with the limit measured in the same run. See `bench/README.md`.

mod cpu;
mod engine;
mod faults;
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
    /// Faults: whether the books are right after processes died and the database went away.
    Faults(faults::Options),
    /// A process of `faults`, to be killed.
    #[command(hide = true)]
    Node(faults::node::Options),
}

// The main thread starts the children: the kernel ends them with it.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let line = match Arguments::parse().command {
        Command::Engine(options) => serde_json::to_string(&engine::run(&options).await?)?,
        Command::Faults(options) => serde_json::to_string(&faults::run(&options).await?)?,
        Command::Node(options) => return faults::node::run(&options).await,
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
