//! The worker: claim → execute → settle, with one heartbeat for all that it runs, and a drain when it stops.

mod body;
mod desk;
mod execute;
mod figures;
mod heartbeat;
pub mod isolated;
mod log_writer;
mod reads;
mod running;

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub use self::{
    body::Setting,
    execute::{Attempt, execute},
    figures::Figures,
};
use self::{desk::Desk, heartbeat::Beats, isolated::BodyProcess, running::Running};
use crate::{
    dag::Registry,
    engine::{Abilities, Graphs},
    ids::ProcessId,
    overflow::Overflow,
    process::{self, Lease},
    secrets::Keys,
    store::processes::{self, ProcessKind},
    task_log::{LogLine, LogOf},
    wake::Wake,
};

/// Log lines that may wait for the writer.
const LOG_LINES_MAX: usize = 65_536;

/// How long what runs may take to stop when the worker must end.
const HAND_BACK_PATIENCE: Duration = isolated::GRACE.saturating_add(Duration::from_secs(1));

/// The longest pause between two tries to reach a database that is down.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What a worker is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many task instances it runs at once.
    pub slots: u32,
    /// The queues whose tasks it takes.
    pub queues: Vec<String>,
    /// How long it may be unheard before its tasks are taken from it.
    pub lease: Lease,
    /// What opens the variables and connections that its tasks look up.
    pub keys: Keys,
    /// How long it waits for its tasks when it is to stop; what still runs then is handed back.
    pub drain: Duration,
    /// How long the database may take to answer a settle; then its connection is taken for dead.
    pub patience: Duration,
    /// How a body gets a process of its own; without it, tasks with isolation fail.
    pub body_process: Option<BodyProcess>,
    /// Where results go that are too big for the database; without it, they fail their tries.
    pub overflow: Option<Arc<dyn Overflow>>,
    /// Where it counts.
    pub figures: Figures,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slots: 32,
            queues: vec!["default".to_owned()],
            lease: Lease::default(),
            keys: Keys::default(),
            drain: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            body_process: None,
            overflow: None,
            figures: Figures::default(),
        }
    }
}

/// Runs the bodies of task instances.
#[derive(Clone, Debug)]
pub struct Worker {
    pool: PgPool,
    registry: Arc<Registry>,
    graphs: Graphs,
    wake: Wake,
    settings: Settings,
    lists: Arc<Semaphore>,
}

impl Worker {
    /// A worker for the DAGs of this binary.
    #[must_use]
    pub fn new(pool: PgPool, registry: Arc<Registry>, graphs: Graphs, wake: Wake, settings: Settings) -> Self {
        Self { pool, registry, graphs, wake, settings, lists: Arc::new(Semaphore::new(1)) }
    }

    /// Works until `stop`, then drains. When its lease is lost it stops everything it runs (somebody else has it now)
    /// and goes on under a new incarnation.
    pub async fn run(self, stop: CancellationToken) {
        let give_up = CancellationToken::new();
        let ending = tokio::spawn(end_after(stop.clone(), self.settings.drain, give_up.clone()));
        // What is stopped then may say something about it.
        let (no_more, until) = (CancellationToken::new(), self.settings.drain + HAND_BACK_PATIENCE);
        let silence = tokio::spawn(end_after(stop.clone(), until, no_more.clone()));
        let (lines, writer) = log_writer::start(self.pool.clone(), LOG_LINES_MAX, no_more);
        while !stop.is_cancelled() {
            let Some(id) = self.register(&stop).await else { break };
            tracing::info!(worker = %id, slots = self.settings.slots, "worker is ready");
            self.incarnation(id, &lines, &stop, &give_up).await;
        }
        drop(lines);
        writer.await.ok();
        ending.abort();
        silence.abort();
    }

    async fn register(&self, stop: &CancellationToken) -> Option<ProcessId> {
        let mut pause = Duration::from_millis(100);
        let (build, slots, lease) = (self.registry.fingerprint(), self.settings.slots, self.settings.lease);
        loop {
            match process::register(&self.pool, ProcessKind::Worker, slots, lease, Some(&build)).await {
                Ok(id) => return Some(id),
                Err(error) => tracing::warn!(%error, "cannot register; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(BACKOFF_MAX),
                () = stop.cancelled() => return None,
            }
        }
    }

    async fn incarnation(
        &self,
        id: ProcessId,
        lines: &mpsc::Sender<(LogOf, LogLine)>,
        stop: &CancellationToken,
        give_up: &CancellationToken,
    ) {
        let (done, mut outcomes) = mpsc::channel(self.settings.slots.max(1) as usize);
        let running = Running::default();
        let lost = CancellationToken::new();
        let beats = Beats { pool: self.pool.clone(), id, lease: self.settings.lease };
        let beating = heartbeat::start(beats, running.clone(), lost.clone());
        if let Err(error) = &beating {
            tracing::error!(worker = %id, %error, "no heartbeat: this worker will be marked lost");
        }
        let mut desk = Desk {
            worker: self,
            id,
            abilities: Abilities::of(Arc::clone(&self.registry)),
            running: running.clone(),
            lines,
            done,
            give_up,
            conn: None,
        };
        let drained = tokio::select! {
            () = desk.work(&mut outcomes, stop) => desk.drain(&mut outcomes, self.settings.drain, &lost).await,
            () = lost.cancelled() => false,
        };
        if !drained {
            running.stop_all();
        }
        drop(beating);
        if let Ok(mut conn) = self.pool.acquire().await {
            processes::stop(&mut conn, id).await.ok();
        }
    }
}

async fn end_after(stop: CancellationToken, patience: Duration, give_up: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(patience).await;
    give_up.cancel();
}
