//! How the programs speak to Kafka.

use std::{fmt, path::PathBuf};

use clap::Args;

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
    pub ca: Option<PathBuf>,
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

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
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
