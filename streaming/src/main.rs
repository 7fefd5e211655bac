//! The program `streaming`.

mod show;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bucket::Bucket;
use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand};
use lake::{Event, layout::LogId};
use streaming::{
    commands::{
        dead_letters::{self, Wanted},
        status, verify,
    },
    commit_log::CommitLogs,
    http, kafka,
    metrics::Metrics,
    producer,
    reporter::Reporter,
    schemas,
    settings::{BucketOptions, KafkaOptions, LogOptions, ProducerOptions, WorkerOptions},
    worker,
};
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// librdkafka's, too; only of this program: jemalloc and libfaketime wait for each other. How it is set up stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// How far each partition is: committed, in Kafka, and what lies between.
    Status(BooksOptions),
    /// Holds the bucket against its manifests, and these against Kafka; fails if anything is wrong.
    Verify(VerifyOptions),
    /// Leaves out what is not committed of a partition, up to an offset; the commit log says so.
    Skip(SkipOptions),
    /// Records that could not become rows.
    #[command(subcommand)]
    Dlq(DlqCommand),
}

/// Where the books are, and the log that they are about.
#[derive(Debug, clap::Args)]
struct BooksOptions {
    #[command(flatten)]
    kafka: KafkaOptions,
    #[command(flatten)]
    bucket: BucketOptions,
    #[command(flatten)]
    logs: LogOptions,
    /// How it is shown.
    #[arg(short, long, value_enum, default_value_t = show::Output::Table)]
    output: show::Output,
}

#[derive(Debug, clap::Args)]
struct VerifyOptions {
    #[command(flatten)]
    books: BooksOptions,
    /// Reads every file, and looks for every offset.
    #[arg(long)]
    deep: bool,
}

#[derive(Debug, clap::Args)]
struct SkipOptions {
    #[command(flatten)]
    books: BooksOptions,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// The partition.
    #[arg(long)]
    partition: i32,
    /// The offset to go on at.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    to: i64,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// How many there are, by topic and reason.
    List(DlqOptions),
    /// The records themselves.
    Show {
        #[command(flatten)]
        dlq: DlqOptions,
        /// The one at this place: partition and offset, as in 0/1234.
        #[arg(long, value_parser = place)]
        at: Option<(i32, i64)>,
        /// At most so many.
        #[arg(long, default_value_t = 10)]
        limit: usize,
    },
    /// Produces them anew, each file once; they say where they stood first.
    Replay(DlqOptions),
}

#[derive(Debug, clap::Args)]
struct DlqOptions {
    #[command(flatten)]
    books: BooksOptions,
    /// Of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// With this reason, for example `missing_field`.
    #[arg(long)]
    code: Option<String>,
    /// Read since this instant.
    #[arg(long)]
    since: Option<DateTime<Utc>>,
}

impl DlqOptions {
    fn wanted(&self, at: Option<(i32, i64)>) -> anyhow::Result<Wanted> {
        let event = self.topic.as_deref().map(event_of).transpose()?;
        Ok(Wanted { event, code: self.code.clone(), since: self.since, at })
    }
}

fn event_of(topic: &str) -> anyhow::Result<Event> {
    let known = Event::ALL.map(Event::topic).join(", ");
    Event::of_topic(topic).with_context(|| format!("there is no event with the topic {topic:?}; there are {known}"))
}

fn place(text: &str) -> Result<(i32, i64), String> {
    let parsed =
        text.split_once('/').and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
    parsed.ok_or_else(|| format!("{text:?} is not a partition and an offset, as in 0/1234"))
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
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    match command {
        Command::Worker(options) => {
            options.check()?;
            let bucket = Bucket::open(&options.bucket.settings()).await?;
            work(options, bucket, stop).await?;
        }
        Command::Produce(options) => {
            let produced = producer::run(&options, stop).await?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&produced)?)?;
        }
        Command::Prepare(options) => {
            kafka::ensure_topics(&options.worker.kafka, options.partitions).await?;
            if options.worker.bucket.gcs_endpoint.is_some() {
                Bucket::open(&options.worker.bucket.settings()).await?.ensure().await?;
            }
        }
        Command::Status(BooksOptions { kafka, bucket, logs, output }) => {
            kafka.check()?;
            let bucket = Bucket::open(&bucket.settings()).await?;
            show::status(&status::status(&bucket, &kafka, &logs.app, logs.epoch).await?, output)?;
        }
        Command::Verify(VerifyOptions { books, deep }) => {
            let BooksOptions { kafka, bucket, logs, output } = books;
            kafka.check()?;
            let bucket = Bucket::open(&bucket.settings()).await?;
            let verdict = verify::verify(&bucket, Some(&kafka), &logs.app, logs.epoch, deep).await?;
            show::verdict(&verdict, output)?;
            if !verdict.faults.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Skip(SkipOptions { books, topic, partition, to }) => {
            let topic = event_of(&topic)?.topic().to_owned();
            let log = LogId { app: books.logs.app, topic, epoch: books.logs.epoch, partition };
            let logs = CommitLogs::new(Bucket::open(&books.bucket.settings()).await?);
            let skipped = logs
                .skip(&log, to)
                .await?
                .context("somebody has committed at the same time: look at `streaming status`, then try again")?;
            writeln!(std::io::stdout(), "{skipped} offsets of {}/{partition} are left out, up to {to}", log.topic)?;
        }
        Command::Dlq(command) => dlq(command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn dlq(command: DlqCommand) -> anyhow::Result<()> {
    let (DlqCommand::List(dlq) | DlqCommand::Show { dlq, .. } | DlqCommand::Replay(dlq)) = &command;
    let BooksOptions { kafka, bucket, logs, output } = &dlq.books;
    kafka.check()?;
    let bucket = Bucket::open(&bucket.settings()).await?;
    match &command {
        DlqCommand::List(_) => {
            let found = dead_letters::list(&bucket, &logs.app, logs.epoch, &dlq.wanted(None)?).await?;
            show::summaries(&found, *output)
        }
        DlqCommand::Show { at, limit, .. } => {
            let found = dead_letters::show(&bucket, &logs.app, logs.epoch, &dlq.wanted(*at)?, *limit).await?;
            show::letters(&found, *output)
        }
        DlqCommand::Replay(_) => {
            let replayed = dead_letters::replay(&bucket, kafka, &logs.app, logs.epoch, &dlq.wanted(None)?).await?;
            Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&replayed)?)?)
        }
    }
}

/// Until it has stopped, or has been stopping for as long as it may.
async fn work(options: WorkerOptions, bucket: Bucket, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        agreed = schemas::agree(&bucket) => agreed?,
        () = stop.cancelled() => return Ok(()),
    }
    let (runtime, drain) = (Handle::current(), Duration::from_secs(options.drain_secs));
    let metrics = Arc::new(Metrics::default());
    if let Some(address) = options.listen {
        tokio::spawn(http::serve(address, Arc::clone(&metrics)).await?);
    }
    let too_late = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(drain).await;
        }
    };
    let reporter = Reporter::of(&options, &metrics).map(Arc::new);
    let reporting = reporter.clone().map(|reporter| tokio::spawn(reporter.run()));
    tokio::select! {
        ended = tokio::task::spawn_blocking(move || worker::run(&options, bucket, &runtime, metrics, &stop)) => ended??,
        () = too_late => anyhow::bail!(
            "stopped without committing all that was read: {drain:?} were not enough (is the bucket there?). It will be \
             read again; --drain-secs gives more time"
        ),
    }
    if let (Some(reporter), Some(reporting)) = (reporter, reporting) {
        // No report of before may come after the last one.
        reporting.abort();
        reporting.await.ok();
        reporter.stopped().await;
    }
    Ok(())
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
