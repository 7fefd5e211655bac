//! The program `streaming`.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use bucket::Bucket;
use clap::{Parser, Subcommand};
use streaming::{
    kafka, producer,
    settings::{ProducerOptions, WorkerOptions},
    worker,
};
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Kafka to Parquet on Google Cloud Storage, exactly once.
#[derive(Debug, Parser)]
#[command(name = "streaming", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads the topics and writes the bucket, until it is stopped.
    Worker(WorkerOptions),
    /// The simulated shop: writes events into the topics.
    Produce(ProducerOptions),
    /// Makes the topics that are not there, and the local emulator's bucket.
    Prepare(PrepareOptions),
}

#[derive(Debug, clap::Args)]
struct PrepareOptions {
    #[command(flatten)]
    worker: WorkerOptions,
    /// Partitions of a topic that has to be made.
    #[arg(long, env = "STREAMCOMMERCE_TOPIC_PARTITIONS", default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("STREAMCOMMERCE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // One TLS provider for everything, before anything connects. Fails only if there is one already.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let ended = Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(run(Arguments::parse().command));
        // A worker that could not drain in time still waits for its bucket.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    match command {
        Command::Worker(options) => {
            let bucket = Bucket::open(&options.bucket.settings()).await?;
            work(options, bucket, stop).await
        }
        Command::Produce(options) => {
            let produced = producer::run(&options, stop).await?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&produced)?)?;
            Ok(())
        }
        Command::Prepare(options) => {
            kafka::ensure_topics(&options.worker.kafka, options.partitions).await?;
            if options.worker.bucket.gcs_endpoint.is_some() {
                Bucket::open(&options.worker.bucket.settings()).await?.ensure().await?;
            }
            Ok(())
        }
    }
}

/// Until it has stopped, or has been stopping for as long as it may.
async fn work(options: WorkerOptions, bucket: Bucket, stop: CancellationToken) -> anyhow::Result<()> {
    let (runtime, drain) = (Handle::current(), Duration::from_secs(options.drain_secs));
    let too_late = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(drain).await;
        }
    };
    tokio::select! {
        ended = tokio::task::spawn_blocking(move || worker::run(&options, bucket, &runtime, &stop)) => ended?,
        () = too_late => anyhow::bail!(
            "stopped without committing all that was read: {drain:?} were not enough (is the bucket there?). It will be \
             read again; --drain-secs gives more time"
        ),
    }
}

fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    })
}
