//! A Kafka, a bucket, and workers that are processes of their own, each with its gate to the bucket.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use lake::Event;
use local::{child::Child, state::State};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{RngExt, rngs::StdRng};
use rdkafka::consumer::{BaseConsumer, Consumer};
use streaming::{kafka, producer, settings::ProducerOptions};
use tokio_util::sync::CancellationToken;

use super::{Fault, books::Books};
use crate::{
    gate::{Gate, Harm},
    stage::Stage,
};

const PARTITIONS: i32 = 2;
const SESSION: Duration = Duration::from_secs(2);

/// A fault that has not hit by then does not hit.
const HIT_WITHIN: Duration = Duration::from_secs(8);

/// A rebalance takes the session of whoever is gone, and the next refresh of the metadata.
const JOINED_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct Field {
    stage: Stage,
    workers: Vec<Worker>,
    books: Books,
    produced: u64,
    pub(super) exits: u32,
}

struct Worker {
    name: &'static str,
    child: Child,
    gate: Gate,
    port: u16,
}

impl Field {
    pub(super) async fn start(state: State) -> anyhow::Result<Self> {
        let stage = Stage::start(state, PARTITIONS).await?;
        let books = Books::new(stage.bucket.clone(), PARTITIONS);
        let mut field = Self { stage, workers: Vec::new(), books, produced: 0, exits: 0 };
        for name in ["worker-a", "worker-b"] {
            let worker = field.worker(name).await?;
            field.workers.push(worker);
        }
        // Both have their share before the first fault.
        for worker in &field.workers {
            worker.joined().await?;
        }
        field.produce(20).await?;
        let in_kafka = field.in_kafka()?;
        field.books.settle(&in_kafka).await?;
        Ok(field)
    }

    pub(super) fn records(&self) -> u64 {
        self.produced
    }

    /// One fault, and everything as it should be after it. Whether it hit while a range was open.
    pub(super) async fn round(&mut self, fault: Fault, random: &mut StdRng) -> anyhow::Result<bool> {
        let victim = random.random_range(0..self.workers.len());
        if let Fault::AtStep(step, harm, times) = fault {
            self.workers[victim].gate.set(step, harm, times);
        }
        self.produce(random.random_range(50..400)).await?;
        let hit = match fault {
            Fault::AtStep(_, harm, _) => self.sprung(victim, harm).await?,
            Fault::Kill(after) => {
                tokio::time::sleep(Duration::from_millis(after)).await;
                let is_open = self.is_open().await?;
                self.workers[victim].signal(Signal::SIGKILL)?;
                // Else it might seem to live when the dead are brought back.
                self.workers[victim].child.wait_for_end(HIT_WITHIN).await?;
                is_open
            }
            Fault::Freeze => self.freeze(victim).await?,
            Fault::Join => self.join().await?,
        };
        self.workers[victim].gate.disarm();
        self.revive().await?;
        // What a range is that was read a moment ago is another one than what comes now.
        self.produce(20).await?;
        let in_kafka = self.in_kafka()?;
        self.books.settle(&in_kafka).await?;
        Ok(hit)
    }

    async fn sprung(&mut self, victim: usize, harm: Harm) -> anyhow::Result<bool> {
        let gate = self.workers[victim].gate.clone();
        let sprung = async {
            while gate.sprung() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let hit = tokio::time::timeout(HIT_WITHIN, sprung).await.is_ok();
        if hit && matches!(harm, Harm::KillBefore | Harm::KillAfter) {
            self.workers[victim].child.wait_for_end(HIT_WITHIN).await.context("a killed worker lives on")?;
        }
        Ok(hit)
    }

    /// Another worker takes over what the frozen one had, while it holds an open range.
    async fn freeze(&mut self, victim: usize) -> anyhow::Result<bool> {
        let is_open = self.is_open().await?;
        self.workers[victim].signal(Signal::SIGSTOP)?;
        tokio::time::sleep(SESSION).await;
        let in_kafka = self.in_kafka()?;
        let taken_over = self.books.settle(&in_kafka).await;
        self.workers[victim].signal(Signal::SIGCONT)?;
        taken_over.context("nobody took over from the frozen worker")?;
        Ok(is_open)
    }

    async fn join(&mut self) -> anyhow::Result<bool> {
        let third = self.worker("worker-c").await?;
        third.joined().await?;
        self.produce(100).await?;
        let is_open = self.is_open().await?;
        third.child.stop(Duration::from_secs(20)).await;
        Ok(is_open)
    }

    /// Whether something is in Kafka that is not committed.
    async fn is_open(&mut self) -> anyhow::Result<bool> {
        let in_kafka = self.in_kafka()?;
        Ok(!self.books.advance(&in_kafka).await?)
    }

    /// Starts again what has ended.
    async fn revive(&mut self) -> anyhow::Result<()> {
        for at in 0..self.workers.len() {
            if let Some(status) = self.workers[at].child.ended()? {
                use std::os::unix::process::ExitStatusExt;
                self.exits += u32::from(status.signal().is_none());
                let Worker { name, ref gate, port, .. } = self.workers[at];
                let (gate, child) = (gate.clone(), self.spawn(name, port)?);
                gate.is_of(i32::try_from(child.pid().unwrap_or_default())?);
                self.workers[at].child = child;
            }
        }
        Ok(())
    }

    async fn produce(&mut self, count: u64) -> anyhow::Result<()> {
        let options = ProducerOptions {
            kafka: self.stage.servers.clone(),
            rate: 0.0,
            invalid: 0.05,
            count: Some(count),
            partitions: PARTITIONS,
        };
        self.produced += producer::run(&options, CancellationToken::new()).await?.records;
        Ok(())
    }

    /// The offset after the last record of each partition.
    fn in_kafka(&self) -> anyhow::Result<BTreeMap<(Event, i32), i64>> {
        let consumer: BaseConsumer = kafka::config(&self.stage.servers).create()?;
        let mut ends = BTreeMap::new();
        for event in Event::ALL {
            for partition in 0..PARTITIONS {
                let (low, high) = consumer.fetch_watermarks(event.topic(), partition, kafka::ASK)?;
                ensure!(low == 0, "Kafka has dropped records");
                ends.insert((event, partition), high);
            }
        }
        Ok(ends)
    }

    async fn worker(&self, name: &'static str) -> anyhow::Result<Worker> {
        let (gate, port) = Gate::open(&self.stage.upstream).await?;
        let child = self.spawn(name, port)?;
        gate.is_of(i32::try_from(child.pid().unwrap_or_default())?);
        Ok(Worker { name, child, gate, port })
    }

    fn spawn(&self, name: &'static str, port: u16) -> anyhow::Result<Child> {
        let (endpoint, session) = (format!("http://127.0.0.1:{port}"), SESSION.as_secs().to_string());
        let more = ["--instance", name, "--rotate-secs", "1", "--session-timeout-secs", &session];
        self.stage.worker(name, &endpoint, &more)
    }

    /// Stops the workers, and looks once more.
    pub(super) async fn stop(mut self) -> anyhow::Result<Books> {
        for worker in self.workers.drain(..) {
            worker.child.stop(Duration::from_secs(20)).await;
        }
        let in_kafka = self.in_kafka()?;
        self.books.settle(&in_kafka).await?;
        self.stage.stop().await;
        Ok(self.books)
    }
}

impl Worker {
    /// Waits until it asks for the commit logs of the partitions that it was given.
    async fn joined(&self) -> anyhow::Result<()> {
        let joined = async {
            while self.gate.asked_for_logs() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(JOINED_WITHIN, joined).await.with_context(|| format!("{} was given nothing", self.name))
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.pid().context("the worker has ended")?)?), signal)?)
    }
}
