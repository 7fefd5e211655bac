//! Apache Kafka itself: one node in KRaft mode. Its jars come from Maven, once per user.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

use crate::{
    child::{Child, Program},
    ports::{HOST, Ports},
    state::{self, State},
};

const POM: &str = include_str!("../kafka/pom.xml");
const PROPERTIES: &str = include_str!("../kafka/server.properties");
const LOGGING: &str = include_str!("../kafka/log4j2.properties");

/// Any id will do for a cluster of one.
const CLUSTER: &str = "streamcommerce-local-A";

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(3);

/// A small heap, and a start that is fast rather than a peak that is high.
const JVM: [&str; 3] = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// A Kafka that runs.
#[derive(Debug)]
pub struct Kafka {
    child: Child,
}

/// What a node is told beyond the settings of the local stack.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Lines of `server.properties`; they go before the stack's own.
    pub properties: String,
    /// Users with SCRAM, as `StorageTool --add-scram` takes them.
    pub scram: Vec<String>,
}

impl Kafka {
    /// Fetches the jars if they are not there.
    ///
    /// # Errors
    /// Maven fails; its output is in the message.
    pub async fn fetch(state: &State) -> anyhow::Result<PathBuf> {
        let key = format!("{:x}", Sha256::digest(POM));
        let folder = state::cache()?.join(format!("kafka-{}", &key[..12]));
        // The mark is written last: a download that was interrupted is made again.
        let mark = folder.join("complete");
        if !mark.exists() {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("pom.xml"), POM)?;
            let libraries = format!("-DoutputDirectory={}", folder.join("libs").display());
            Program::new("maven", "mvn", &state.logs())
                .args(["-q", "-B", "dependency:copy-dependencies", &libraries])
                .current_dir(&folder)
                .complete()
                .await
                .context(
                    "cannot fetch Kafka; set STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS to use a broker of your own",
                )?;
            std::fs::write(mark, POM)?;
        }
        Ok(folder.join("libs"))
    }

    /// Starts the node of this state folder, and formats its storage if it is new.
    ///
    /// # Errors
    /// It does not start; its log is in the message.
    pub async fn start(state: &State, ports: &Ports) -> anyhow::Result<Self> {
        Self::start_with(state, ports, &Settings::default()).await
    }

    /// The same with more settings.
    ///
    /// # Errors
    /// It does not start; its log is in the message.
    pub async fn start_with(state: &State, ports: &Ports, more: &Settings) -> anyhow::Result<Self> {
        let libraries = Self::fetch(state).await?;
        let node = Node::prepare(state, ports, &libraries, &more.properties)?;
        if !node.data.join("meta.properties").exists() {
            let cluster = format!("--cluster-id={CLUSTER}");
            node.java("kafka-format", "kafka.tools.StorageTool")
                .args(["format", &cluster, "--ignore-formatted", "-c"])
                .args([&node.properties])
                .args(more.scram.iter().flat_map(|user| ["--add-scram", user]))
                .complete()
                .await
                .context("cannot format Kafka's storage")?;
        }
        let mut child = node.java("kafka", "kafka.Kafka").args([&node.properties]).spawn(Signal::SIGTERM)?;
        // The client port opens when the broker has nearly started; clients wait for the rest.
        let port = ports.kafka;
        child.wait_until(START, async || TcpStream::connect((HOST, port)).await.is_ok()).await?;
        Ok(Self { child })
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.child.stop(STOP).await;
    }
}

/// The broker of a stack.
#[derive(Debug)]
pub enum Broker {
    /// One of its own.
    Own(Box<Kafka>),
    /// Somebody else's, at these addresses.
    Other(String),
}

impl Broker {
    /// Fetches what its own needs, unless another one is named.
    ///
    /// # Errors
    /// Maven fails; its output is in the message.
    pub async fn fetch(state: &State) -> anyhow::Result<()> {
        if named().is_none() {
            Kafka::fetch(state).await?;
        }
        Ok(())
    }

    /// The one that `STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS` names, or one of its own.
    ///
    /// # Errors
    /// Its own does not start; its log is in the message.
    pub async fn start(state: &State, ports: &Ports) -> anyhow::Result<Self> {
        match named() {
            Some(servers) => Ok(Self::Other(servers)),
            None => Ok(Self::Own(Box::new(Kafka::start(state, ports).await?))),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn servers(&self, ports: &Ports) -> String {
        match self {
            Self::Own(_) => format!("{HOST}:{}", ports.kafka),
            Self::Other(servers) => servers.clone(),
        }
    }

    /// An error that shows the end of its log, if it is the stack's own and has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Own(kafka) => kafka.child.check_alive(),
            Self::Other(_) => Ok(()),
        }
    }

    /// Stops it in order, if it is the stack's own.
    pub async fn stop(self) {
        if let Self::Own(kafka) = self {
            kafka.stop().await;
        }
    }
}

fn named() -> Option<String> {
    std::env::var("STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS").ok().filter(|servers| !servers.is_empty())
}

struct Node {
    data: PathBuf,
    properties: PathBuf,
    logging: PathBuf,
    temporary: PathBuf,
    class_path: String,
    logs: PathBuf,
}

impl Node {
    fn prepare(state: &State, ports: &Ports, libraries: &Path, more: &str) -> anyhow::Result<Self> {
        let folder = state.folder("kafka")?;
        let (data, temporary) = (folder.join("data"), folder.join("tmp"));
        // Native libraries of a node that was killed.
        std::fs::remove_dir_all(&temporary).ok();
        std::fs::create_dir_all(&temporary)?;
        let properties = PROPERTIES
            .replace("@PORT@", &ports.kafka.to_string())
            .replace("@CONTROLLER_PORT@", &ports.kafka_controller.to_string())
            .replace("@DATA@", &data.display().to_string());
        let node = Self {
            properties: folder.join("server.properties"),
            logging: folder.join("log4j2.properties"),
            class_path: format!("{}/*", libraries.display()),
            logs: state.logs(),
            data,
            temporary,
        };
        // Of a line that stands twice, Java takes the last.
        std::fs::write(&node.properties, format!("{properties}\n{more}"))?;
        std::fs::write(&node.logging, LOGGING)?;
        Ok(node)
    }

    fn java(&self, name: &'static str, class: &str) -> Program {
        let temporary = format!("-Djava.io.tmpdir={}", self.temporary.display());
        let logging = format!("-Dlog4j2.configurationFile={}", self.logging.display());
        Program::new(name, "java", &self.logs).args(JVM).args([&temporary, &logging, "-cp", &self.class_path, class])
    }
}
