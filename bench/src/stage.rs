//! A Kafka and a bucket of one's own.

use std::time::Duration;

use anyhow::Context;
use bucket::{Bucket, Settings};
use lake::Event;
use local::{
    child::{Child, Program, built},
    gcs,
    kafka::Kafka,
    ports::Ports,
    state::State,
};
use nix::sys::signal::Signal;
use streaming::{commands::status, kafka, settings::KafkaOptions};
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "lake";

/// Whoever has not committed after so long hangs.
const PATIENCE: Duration = Duration::from_secs(1_800);

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

    /// A worker, which reaches the bucket at `endpoint`: the program itself, whose allocator is not ours.
    pub(crate) fn worker(&self, name: &'static str, endpoint: &str, more: &[&str]) -> anyhow::Result<Child> {
        let servers = self.servers.bootstrap_servers.as_str();
        let arguments =
            ["worker", "--bootstrap-servers", servers, "--bucket", BUCKET, "--gcs-endpoint", endpoint, "--app", APP];
        let program = Program::new(name, built("streaming")?, &self.state.logs()).args(arguments).args(more);
        program.spawn(Signal::SIGTERM)
    }

    /// Waits until the workers have committed all that was produced into so many partitions of each topic.
    pub(crate) async fn all_committed(&self, of_each: i32, look_every: Duration) -> anyhow::Result<()> {
        let committed = async {
            while !self.is_all_committed(of_each).await? {
                tokio::time::sleep(look_every).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, committed).await.context("not all was committed")?
    }

    async fn is_all_committed(&self, of_each: i32) -> anyhow::Result<bool> {
        let partitions = status::status(&self.bucket, &self.servers, APP, 1).await?;
        Ok(partitions.len() == Event::ALL.len() * of_each as usize && partitions.iter().all(|of| of.lag == 0))
    }

    pub(crate) async fn stop(self) {
        self.kafka.stop().await;
        self.stop.cancel();
    }
}

/// The application of its workers.
pub(crate) const APP: &str = "bench";
