//! What the programs are told, by arguments or by the environment, checked whole before they start.

use std::time::Duration;

use clap::Args;

/// The Kafka cluster.
#[derive(Clone, Debug, Args)]
pub struct KafkaOptions {
    /// The brokers, as host:port, separated by commas.
    #[arg(long, env = "STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS")]
    pub bootstrap_servers: String,
}

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

/// The worker.
#[derive(Clone, Debug, Args)]
pub struct WorkerOptions {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub kafka: KafkaOptions,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub bucket: BucketOptions,
    /// The name of the application: workers of one name share the work and the commit log.
    #[arg(long, env = "STREAMCOMMERCE_APP", default_value = "streamcommerce")]
    pub app: String,
    /// The incarnation of the topics; raise it when they were made anew.
    #[arg(long, env = "STREAMCOMMERCE_TOPIC_EPOCH", default_value_t = 1)]
    pub epoch: u32,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it")]
    pub rotation: Rotation,
    /// How many seconds it may take to commit what was read when it is stopped; what is left is read again.
    #[arg(long, env = "STREAMCOMMERCE_DRAIN_SECS", default_value_t = 25)]
    pub drain_secs: u64,
}

/// When the open range of a Kafka partition is closed and committed: whichever comes first.
#[derive(Clone, Copy, Debug, Args)]
pub struct Rotation {
    /// After so many records.
    #[arg(long, env = "STREAMCOMMERCE_ROTATE_ROWS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rotate_rows: u64,
    /// After so many bytes of records.
    #[arg(long, env = "STREAMCOMMERCE_ROTATE_BYTES", default_value_t = 128 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub rotate_bytes: u64,
    /// So many seconds after its first record, by the wall clock.
    #[arg(long, env = "STREAMCOMMERCE_ROTATE_SECS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub rotate_secs: u64,
    /// All ranges are closed when together they hold so many bytes.
    #[arg(long, env = "STREAMCOMMERCE_MEMORY_BYTES", default_value_t = 512 << 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub memory_bytes: u64,
}

impl Rotation {
    /// The age at which a range is closed.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_secs(self.rotate_secs)
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
        anyhow::ensure!(
            (0.0..=1.0).contains(&self.invalid),
            "--invalid must lie between 0 and 1, not {}",
            self.invalid
        );
        anyhow::ensure!(self.rate >= 0.0 && self.rate.is_finite(), "--rate must be 0 or more, not {}", self.rate);
        Ok(())
    }
}
