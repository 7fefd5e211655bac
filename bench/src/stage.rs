//! A Kafka and a bucket of one's own.

use std::path::Path;

use bucket::{Bucket, Settings};
use local::{
    child::{Child, Program},
    gcs,
    kafka::Kafka,
    ports::Ports,
    state::State,
};
use nix::sys::signal::Signal;
use streaming::{kafka, settings::KafkaOptions};
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "lake";

pub(crate) struct Stage {
    state: State,
    kafka: Kafka,
    stop: CancellationToken,
    pub(crate) servers: KafkaOptions,
    pub(crate) bucket: Bucket,
    /// Where the bucket is.
    pub(crate) upstream: String,
}

impl Stage {
    pub(crate) async fn start(state: State, partitions: i32) -> anyhow::Result<Self> {
        let (ports, stop) = (Ports::free()?, CancellationToken::new());
        let (objects, stopped) = (state.folder("gcs")?, stop.clone());
        tokio::spawn(async move { gcs::serve(&objects, ports.gcs, stopped).await });
        let kafka = Kafka::start(&state, &ports).await?;
        let upstream = format!("http://127.0.0.1:{}", ports.gcs);
        let bucket = Bucket::open(&Settings { bucket: BUCKET.to_owned(), endpoint: Some(upstream.clone()) }).await?;
        bucket.ensure().await?;
        let servers = KafkaOptions::at(&format!("127.0.0.1:{}", ports.kafka));
        kafka::ensure_topics(&servers, partitions).await?;
        Ok(Self { state, kafka, stop, servers, bucket, upstream })
    }

    /// A worker in a process of its own, which reaches the bucket at `endpoint`.
    pub(crate) fn worker(&self, name: &'static str, endpoint: &str, more: &[&str]) -> anyhow::Result<Child> {
        let servers = self.servers.bootstrap_servers.as_str();
        let arguments = [
            "stream-node",
            "--bootstrap-servers",
            servers,
            "--bucket",
            BUCKET,
            "--gcs-endpoint",
            endpoint,
            "--app",
            APP,
        ];
        let own = std::env::current_exe()?;
        let program = Program::new(name, Path::new(&own), &self.state.logs()).args(arguments).args(more);
        program.spawn(Signal::SIGTERM)
    }

    pub(crate) async fn stop(self) {
        self.kafka.stop().await;
        self.stop.cancel();
    }
}

/// The application of its workers.
pub(crate) const APP: &str = "bench";
