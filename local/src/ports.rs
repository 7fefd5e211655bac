//! The ports of a stack, all on loopback.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use anyhow::{Context, bail};

/// The host of everything.
pub const HOST: &str = "127.0.0.1";

/// Which part listens where.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The pages and the API.
    pub web: u16,
    /// Postgres.
    pub postgres: u16,
    /// Kafka, for clients.
    pub kafka: u16,
    /// Kafka, for its controller.
    pub kafka_controller: u16,
    /// The GCS emulator.
    pub gcs: u16,
    /// The BigQuery emulator.
    pub bigquery: u16,
    /// The BigQuery emulator's gRPC side, which nobody uses.
    pub bigquery_grpc: u16,
    /// The streaming worker's metrics.
    pub streaming: u16,
}

impl Ports {
    /// The default ports, or what `STREAMCOMMERCE_*_PORT` say. The defaults lie below the range from which Linux takes
    /// the local ports of outgoing connections, so that none of those is in their place.
    ///
    /// # Errors
    /// A setting is not a port.
    pub fn from_env() -> anyhow::Result<Self> {
        Ok(Self {
            web: port("STREAMCOMMERCE_WEB_PORT", 8080)?,
            postgres: port("STREAMCOMMERCE_POSTGRES_PORT", 15432)?,
            kafka: port("STREAMCOMMERCE_KAFKA_PORT", 18092)?,
            kafka_controller: port("STREAMCOMMERCE_KAFKA_CONTROLLER_PORT", 18093)?,
            gcs: port("STREAMCOMMERCE_GCS_PORT", 14443)?,
            bigquery: port("STREAMCOMMERCE_BIGQUERY_PORT", 19050)?,
            bigquery_grpc: port("STREAMCOMMERCE_BIGQUERY_GRPC_PORT", 19060)?,
            streaming: port("STREAMCOMMERCE_STREAMING_PORT", 9464)?,
        })
    }

    /// Ports that are free at this moment, for tests.
    ///
    /// # Errors
    /// The machine has none left.
    pub fn free() -> anyhow::Result<Self> {
        // All are held until the last one is known, so that no two are the same.
        let held = (0..8).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>, _>>()?;
        let ports =
            held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            web: ports[0],
            postgres: ports[1],
            kafka: ports[2],
            kafka_controller: ports[3],
            gcs: ports[4],
            bigquery: ports[5],
            bigquery_grpc: ports[6],
            streaming: ports[7],
        })
    }

    /// Refuses ports that somebody else has. What was killed a moment ago may still be closing its own, so a port
    /// that is taken gets a little time.
    ///
    /// # Errors
    /// Names every port that is taken, and the setting that changes it.
    pub async fn check_free(&self) -> anyhow::Result<()> {
        const PATIENCE: Duration = Duration::from_secs(3);
        const EVERY: Duration = Duration::from_millis(100);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let taken = self.taken();
            if taken.is_empty() {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{}", taken.join("\n"));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn taken(&self) -> Vec<String> {
        let wanted = [
            ("STREAMCOMMERCE_WEB_PORT", self.web),
            ("STREAMCOMMERCE_POSTGRES_PORT", self.postgres),
            ("STREAMCOMMERCE_KAFKA_PORT", self.kafka),
            ("STREAMCOMMERCE_KAFKA_CONTROLLER_PORT", self.kafka_controller),
            ("STREAMCOMMERCE_GCS_PORT", self.gcs),
            ("STREAMCOMMERCE_BIGQUERY_PORT", self.bigquery),
            ("STREAMCOMMERCE_BIGQUERY_GRPC_PORT", self.bigquery_grpc),
            ("STREAMCOMMERCE_STREAMING_PORT", self.streaming),
        ];
        let is_taken = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err();
        wanted
            .into_iter()
            .filter(|(_, port)| is_taken(*port))
            .map(|(setting, port)| format!("port {port} is taken: free it, or set {setting} to another one"))
            .collect()
    }
}

fn port(setting: &str, default: u16) -> anyhow::Result<u16> {
    match std::env::var(setting) {
        Err(_) => Ok(default),
        Ok(text) => text.parse().with_context(|| format!("{setting}={text} is not a port")),
    }
}
