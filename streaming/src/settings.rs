//! What the programs are told, by arguments or by the environment, checked whole before they start.

use std::time::Duration;

use clap::Args;

use crate::orchestrator::OrchestratorOptions;

/// The Kafka cluster.
#[derive(Clone, Debug, Args)]
pub struct KafkaOptions {
    /// The brokers, as host:port, separated by commas.
    #[arg(long, env = "STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS")]
    pub bootstrap_servers: String,
    /// How the brokers are spoken to.
    #[arg(long, env = "STREAMCOMMERCE_KAFKA_SECURITY", value_enum, ignore_case = true, default_value_t = Security::Plaintext)]
    pub security: Security,
    /// A file with the certificates of the brokers' authorities, in PEM; without it, the system's.
    #[arg(long, env = "STREAMCOMMERCE_KAFKA_CA")]
    pub ca: Option<std::path::PathBuf>,
    /// How it says who it is, with SASL.
    #[arg(long, env = "STREAMCOMMERCE_KAFKA_SASL_MECHANISM", value_enum, ignore_case = true, default_value_t = Mechanism::ScramSha512)]
    pub sasl_mechanism: Mechanism,
    /// Who it is, with SASL.
    #[arg(long, env = "STREAMCOMMERCE_KAFKA_SASL_USERNAME")]
    pub sasl_username: Option<String>,
    /// Its password, by the environment alone: arguments can be read by everybody on the machine.
    #[arg(skip)]
    pub sasl_password: Password,
}

impl KafkaOptions {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// It is to say who it is and does not know, or would say its password in clear.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.security.uses_sasl() || (self.sasl_username.is_some() && self.sasl_password.0.is_some()),
            "SASL needs --sasl-username and STREAMCOMMERCE_KAFKA_SASL_PASSWORD"
        );
        anyhow::ensure!(
            self.security != Security::SaslPlaintext || self.sasl_mechanism != Mechanism::Plain,
            "SASL PLAIN without encryption would send the password in clear: use --security sasl-ssl, or SCRAM"
        );
        Ok(())
    }

    /// Brokers that speak in clear to anybody.
    #[must_use]
    pub fn at(bootstrap_servers: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            security: Security::Plaintext,
            ca: None,
            sasl_mechanism: Mechanism::ScramSha512,
            sasl_username: None,
            sasl_password: Password(None),
        }
    }
}

/// How brokers are spoken to: Kafka's `security.protocol`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Security {
    /// In clear.
    Plaintext,
    /// Encrypted.
    Ssl,
    /// In clear, but for the password with SCRAM.
    #[value(alias = "sasl_plaintext")]
    SaslPlaintext,
    /// Encrypted, and it says who it is.
    #[value(alias = "sasl_ssl")]
    SaslSsl,
}

impl Security {
    /// As Kafka writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether one says who one is.
    #[must_use]
    pub fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether what is said is encrypted.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// Kafka's `sasl.mechanism`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Mechanism {
    /// The password itself: only with encryption.
    Plain,
    /// SCRAM with SHA-256.
    #[value(name = "scram-sha-256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[value(name = "scram-sha-512")]
    ScramSha512,
}

impl Mechanism {
    /// As Kafka writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A password that is not shown, from `STREAMCOMMERCE_KAFKA_SASL_PASSWORD`.
#[derive(Clone)]
pub struct Password(pub Option<String>);

impl Default for Password {
    fn default() -> Self {
        Self(std::env::var("STREAMCOMMERCE_KAFKA_SASL_PASSWORD").ok())
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("***")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_who_he_is_knows_it_and_does_not_shout() {
        let options = |security, mechanism, password: Option<&str>| KafkaOptions {
            security,
            sasl_mechanism: mechanism,
            sasl_username: Some("shop".to_owned()),
            sasl_password: Password(password.map(ToOwned::to_owned)),
            ..KafkaOptions::at("127.0.0.1:9092")
        };
        for (security, mechanism, password, is_right) in [
            (Security::Plaintext, Mechanism::Plain, None, true),
            (Security::SaslSsl, Mechanism::Plain, Some("s3cr3t"), true),
            (Security::SaslSsl, Mechanism::Plain, None, false),
            (Security::SaslPlaintext, Mechanism::Plain, Some("s3cr3t"), false),
            (Security::SaslPlaintext, Mechanism::ScramSha512, Some("s3cr3t"), true),
        ] {
            let options = options(security, mechanism, password);
            assert_eq!(options.check().is_ok(), is_right, "{options:?}");
            assert!(!format!("{options:?}").contains("s3cr3t"));
        }
    }
}
