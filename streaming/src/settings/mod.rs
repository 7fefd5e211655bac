//! What the programs are told, by arguments or by the environment, checked whole before they start.

mod kafka;

use std::time::Duration;

use clap::Args;

pub use self::kafka::{KafkaOptions, Mechanism, Password, Security};
use crate::orchestrator::OrchestratorOptions;

/// The bucket.
#[derive(Clone, Debug, Args)]
pub struct BucketOptions {
    /// The name of the bucket.
    #[arg(long, env = "STREAMCOMMERCE_BUCKET")]
    pub bucket: String,
    /// Another server than Google's, for example an emulator's; then no credentials are sent.
    #[arg(long, env = "STREAMCOMMERCE_GCS_ENDPOINT")]
    pub gcs_endpoint: Option<String>,
}

impl BucketOptions {
    /// As the bucket's client takes them.
    #[must_use]
    pub fn settings(&self) -> bucket::Settings {
        bucket::Settings { bucket: self.bucket.clone(), endpoint: self.gcs_endpoint.clone() }
    }
}

/// Which commit logs.
#[derive(Clone, Debug, Args)]
pub struct LogOptions {
    /// The name of the application: workers of one name share the work and the commit log.
    #[arg(long, env = "STREAMCOMMERCE_APP", default_value = "streamcommerce")]
    pub app: String,
    /// The incarnation of the topics; raise it when they were made anew.
    #[arg(long, env = "STREAMCOMMERCE_TOPIC_EPOCH", default_value_t = 1)]
    pub epoch: u32,
}

/// The worker.
#[derive(Clone, Debug, Args)]
pub struct WorkerOptions {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub kafka: KafkaOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub bucket: BucketOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub logs: LogOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub rotation: Rotation,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub placement: Placement,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub orchestrator: OrchestratorOptions,
    /// The most bytes that it may hold, Kafka's queue included; beyond, it reads no further until uploads are done.
    #[arg(long, env = "STREAMCOMMERCE_MEMORY_BYTES", default_value_t = 512 << 20, value_parser = clap::value_parser!(u64).range(16 << 20..))]
    pub memory_bytes: u64,
    /// A worker that Kafka has not heard for so long has lost its partitions.
    #[arg(long, env = "STREAMCOMMERCE_SESSION_TIMEOUT_SECS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub session_timeout_secs: u32,
    /// A name that stays when the worker is restarted: within the session timeout nobody else takes its partitions.
    #[arg(long, env = "STREAMCOMMERCE_INSTANCE")]
    pub instance: Option<String>,
    /// Where /metrics, /healthz and /readyz are served, for example 127.0.0.1:9464; without it, nowhere.
    #[arg(long, env = "STREAMCOMMERCE_STREAMING_LISTEN")]
    pub listen: Option<std::net::SocketAddr>,
    /// An error is logged, and `dead_letter_alarm` is 1, while more than this share of the records read lately (a
    /// thousand, or five minutes' worth), from 0 to 1, were dead letters.
    #[arg(long, env = "STREAMCOMMERCE_ALARM_INVALID", default_value_t = 0.1)]
    pub alarm_invalid: f64,
    /// It stops when more than this share of the records read lately, from 0 to 1, were dead letters.
    #[arg(long, env = "STREAMCOMMERCE_MAX_INVALID")]
    pub max_invalid: Option<f64>,
    /// How many seconds it may take to commit what was read when it is stopped; what is left is read again.
    #[arg(long, env = "STREAMCOMMERCE_DRAIN_SECS", default_value_t = 25)]
    pub drain_secs: u64,
}

/// When the open range of a Kafka partition is closed and committed: whichever comes first.
#[derive(Clone, Copy, Debug, Args)]
pub struct Rotation {
    /// After so many records.
    #[arg(long, env = "STREAMCOMMERCE_ROTATE_ROWS", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rotate_rows: u64,
    /// When its files have so many bytes: BigQuery likes 64 to 512 MB.
    #[arg(long, env = "STREAMCOMMERCE_FILE_BYTES", default_value_t = 128 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub file_bytes: u64,
    /// So many seconds after its first record, by the wall clock.
    #[arg(long, env = "STREAMCOMMERCE_ROTATE_SECS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub rotate_secs: u64,
}

/// Into which hour's folder a row goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Args)]
pub struct Placement {
    /// By which clock.
    #[arg(long, env = "STREAMCOMMERCE_TIME_OF", value_enum, default_value_t = TimeOf::Ingestion)]
    pub time_of: TimeOf,
    /// Records that are older than so many hours are dead letters; not for --time-of ingestion.
    #[arg(long, env = "STREAMCOMMERCE_ALLOWED_LATENESS_HOURS")]
    pub allowed_lateness_hours: Option<u32>,
    /// Records from further ahead than so many hours are dead letters; not for --time-of ingestion.
    #[arg(long, env = "STREAMCOMMERCE_MAX_AHEAD_HOURS", default_value_t = 24)]
    pub max_ahead_hours: u32,
}

impl Default for Placement {
    fn default() -> Self {
        Self { time_of: TimeOf::Ingestion, allowed_lateness_hours: None, max_ahead_hours: 24 }
    }
}

/// A clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum TimeOf {
    /// When the range was begun in which it was read: one hour, and one file, per range.
    Ingestion,
    /// The timestamp of the Kafka record.
    Record,
    /// The field of the event that says when it happened.
    Event,
}

impl Rotation {
    /// The age at which a range is closed.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_secs(self.rotate_secs)
    }
}

impl WorkerOptions {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// A number lies outside of its bounds, or two settings do not go together.
    pub fn check(&self) -> anyhow::Result<()> {
        self.kafka.check()?;
        for (name, share) in [("alarm", Some(self.alarm_invalid)), ("max", self.max_invalid)] {
            if let Some(share) = share {
                anyhow::ensure!((0.0..=1.0).contains(&share), "--{name}-invalid must lie between 0 and 1, not {share}");
            }
        }
        anyhow::ensure!(
            self.placement.time_of != TimeOf::Ingestion || self.placement.allowed_lateness_hours.is_none(),
            "--allowed-lateness-hours needs --time-of record or event: nothing is late by the time of its ingestion"
        );
        Ok(())
    }
}

/// The simulated shop.
#[derive(Clone, Debug, Args)]
pub struct ProducerOptions {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub kafka: KafkaOptions,
    /// Events per second and topic; 0 is as fast as it goes.
    #[arg(long, env = "STREAMCOMMERCE_PRODUCE_RATE", default_value_t = 0.1)]
    pub rate: f64,
    /// The share of broken records, from 0 to 1.
    #[arg(long, env = "STREAMCOMMERCE_PRODUCE_INVALID", default_value_t = 0.0)]
    pub invalid: f64,
    /// Ends after so many events per topic; without it, when it is stopped.
    #[arg(long)]
    pub count: Option<u64>,
    /// Partitions of a topic that has to be made.
    #[arg(long, env = "STREAMCOMMERCE_TOPIC_PARTITIONS", default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
}

impl ProducerOptions {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// A number lies outside of its bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        self.kafka.check()?;
        anyhow::ensure!(
            (0.0..=1.0).contains(&self.invalid),
            "--invalid must lie between 0 and 1, not {}",
            self.invalid
        );
        anyhow::ensure!(self.rate >= 0.0 && self.rate.is_finite(), "--rate must be 0 or more, not {}", self.rate);
        Ok(())
    }
}
