//! The worker: claim → execute → settle, with one heartbeat for all that it runs, and a drain when it stops.

mod body;
mod execute;
mod figures;
mod heartbeat;
pub mod isolated;
mod log_writer;
mod reads;
mod running;

use std::{sync::Arc, time::Duration};

use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    body::Setting,
    execute::{Attempt, execute},
    figures::Figures,
};
use self::{heartbeat::Beats, isolated::BodyProcess, running::Running};
use crate::{
    dag::Registry,
    engine::{Abilities, Claimant, Ending, Graphs, Outcome, Settled, settle},
    ids::ProcessId,
    overflow::Overflow,
    process::{self, Lease},
    secrets::Keys,
    store::{
        self,
        instances::Claim,
        processes::{self, ProcessKind},
    },
    task_log::{LogLine, LogOf, LogSink},
    wake::{self, Wake},
};

/// Outcomes in one transaction. More would not be faster, and a batch that fails is halved.
const BATCH: usize = 256;

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

/// One incarnation at work: where outcomes come in and claims go out.
struct Desk<'a> {
    worker: &'a Worker,
    id: ProcessId,
    abilities: Abilities,
    running: Running,
    lines: &'a mpsc::Sender<(LogOf, LogLine)>,
    done: mpsc::Sender<Outcome>,
    /// Ends when the worker has been stopping for as long as it may.
    give_up: &'a CancellationToken,
    /// Kept between settles: taking one from the pool asks the database whether it still lives, at every hop. Not of the
    /// pool: a settle that is dropped while it waits for a run's lock must close its connection, not give it back with
    /// the lock still to come.
    conn: Option<PgConnection>,
}

/// Outcomes to be settled, and how often this binary seemed unable to.
struct Batch {
    outcomes: Vec<Outcome>,
    unable: u32,
}

impl Desk<'_> {
    /// Until `stop`: settle what ended, claim what fits.
    async fn work(&mut self, outcomes: &mut mpsc::Receiver<Outcome>, stop: &CancellationToken) {
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = outcomes.recv() => batch_from(outcome, outcomes),
                () = self.worker.wake.worker_woken() => Vec::new(),
                () = tokio::time::sleep(wake::POLL) => Vec::new(),
            };
            self.settle(batch, true).await;
        }
    }

    /// Waits for what still runs, for as long as it may; then hands it back. False if the lease was lost meanwhile.
    async fn drain(
        &mut self,
        outcomes: &mut mpsc::Receiver<Outcome>,
        patience: Duration,
        lost: &CancellationToken,
    ) -> bool {
        let deadline = Instant::now() + patience;
        while !self.running.is_empty() {
            tokio::select! {
                outcome = outcomes.recv() => {
                    let batch = batch_from(outcome, outcomes);
                    self.settle(batch, false).await;
                }
                () = tokio::time::sleep_until(deadline) => {
                    self.hand_back(outcomes).await;
                    return true;
                }
                () = lost.cancelled() => return false,
            }
        }
        true
    }

    /// Stops what runs and puts it back into the queue: the same try, for another worker. What ends well meanwhile has
    /// ended.
    async fn hand_back(&mut self, outcomes: &mut mpsc::Receiver<Outcome>) {
        let mut stopped = self.running.stop_all();
        // Nothing of a try goes on beside the same try elsewhere; but a body that does not listen cannot be waited for.
        let patience = Instant::now() + HAND_BACK_PATIENCE;
        let mut done = Vec::new();
        for _ in 0..stopped.len() {
            let Ok(Some(outcome)) = tokio::time::timeout_at(patience, outcomes.recv()).await else { break };
            if !matches!(outcome.ending, Ending::Failed { .. } | Ending::Retry { .. }) {
                done.push(outcome);
            }
        }
        stopped.retain(|stopped| done.iter().all(|outcome| outcome.attempt != stopped.attempt));
        if !done.is_empty() {
            self.settle(done, false).await;
        }
        for held in stopped {
            let Ok(mut conn) = self.worker.pool.acquire().await else { continue };
            match store::instances::hand_back_if_current(&mut conn, held.instance, held.attempt).await {
                Ok(true) => tracing::info!(instance = %held.instance, "handed back: this worker stops"),
                Ok(false) => {}
                // The rescue of lost workers will find it.
                Err(error) => tracing::warn!(instance = %held.instance, %error, "cannot hand back"),
            }
        }
        self.worker.wake.everybody();
    }

    /// Settles a batch, however long the database takes, and claims into the free slots.
    async fn settle(&mut self, batch: Vec<Outcome>, claiming: bool) {
        let ended: Vec<_> = batch.iter().map(|outcome| outcome.attempt).collect();
        let began = Instant::now();
        let mut open = vec![Batch { outcomes: batch, unable: 0 }];
        while let Some(batch) = open.pop() {
            let free = if claiming { self.free(&ended) } else { 0 };
            let outcomes = batch.outcomes.len();
            let settled = self.settle_surely(batch, free, &mut open).await;
            self.worker.settings.figures.settled(outcomes, &settled, began.elapsed());
            self.tell(&settled);
            // At once: what is claimed and does not run looks lost to the heartbeat.
            self.start(settled.claims);
            // Each alone, waiting for its one run while holding nothing else.
            open.extend(settled.busy.into_iter().map(|outcome| Batch { outcomes: vec![outcome], unable: 0 }));
        }
        self.running.remove(&ended);
    }

    /// Tries again while the database is away. A batch that cannot be written is halved; one outcome that cannot be
    /// written alone becomes a failure that says so. What this binary cannot do (read the graph of a newer one) is tried
    /// without claims, and in the end left to others: what is held and does not run is rescued.
    async fn settle_surely(&mut self, batch: Batch, mut free: i64, open: &mut Vec<Batch>) -> Settled {
        let Batch { outcomes, mut unable } = batch;
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.settle_once(outcomes.clone(), free).await {
                Ok(settled) => return settled,
                Err(error) => error,
            };
            let in_database = error.downcast_ref::<sqlx::Error>();
            let is_about_data = in_database.is_some_and(store::is_about_data);
            // Whatever the database says otherwise, it may say something else later: a failover, a migration to come.
            unable += u32::from(in_database.is_none());
            let gives_up = is_about_data || unable > UNABLE_MAX;
            match outcomes.as_slice() {
                [] => {
                    tracing::debug!(error = format!("{error:#}"), "cannot claim; the next poll tries again");
                    return Settled::default();
                }
                [one] if gives_up => {
                    tracing::error!(instance = %one.instance, error = format!("{error:#}"), "cannot write an outcome");
                    let failure = is_about_data.then(|| unwritable(one, &error)).flatten();
                    open.extend(failure.map(|failure| Batch { outcomes: vec![failure], unable }));
                    return Settled::default();
                }
                several if gives_up => {
                    let (left, right) = several.split_at(several.len() / 2);
                    // What was tried in vain together need not wait as long again apart.
                    open.extend([left, right].map(|half| Batch { outcomes: half.to_vec(), unable }));
                    return Settled::default();
                }
                _ => tracing::warn!(error = format!("{error:#}"), "cannot settle; trying again"),
            }
            free = if unable > 0 { 0 } else { free };
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(BACKOFF_MAX),
                // The time to stop is over, and the database is still away: the lease will tell.
                () = self.give_up.cancelled() => return Settled::default(),
            }
        }
    }

    async fn settle_once(&mut self, batch: Vec<Outcome>, free: i64) -> anyhow::Result<Settled> {
        // One that failed is closed.
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.worker.pool.acquire().await?.detach(),
        };
        let queues = &self.worker.settings.queues;
        let claimant = Claimant { worker: self.id, abilities: &self.abilities, queues, free };
        let settled = settle(&mut conn, &self.worker.graphs, batch, Some(claimant)).await?;
        self.conn = Some(conn);
        Ok(settled)
    }

    fn tell(&self, settled: &Settled) {
        for outcome in &settled.stale {
            tracing::warn!(instance = %outcome.instance, attempt = %outcome.attempt, "refused: the attempt is not current");
        }
        if !settled.finished.is_empty() || settled.queued > settled.claims.len() as u64 {
            self.worker.wake.everybody();
        } else if settled.retries > 0 || settled.rechecks > 0 {
            // It may be due before the scheduler would look by itself.
            self.worker.wake.scheduler();
        }
    }

    fn free(&self, ended: &[crate::ids::AttemptId]) -> i64 {
        i64::from(self.worker.settings.slots) - self.running.count_without(ended) as i64
    }

    fn start(&mut self, claims: Vec<Claim>) {
        for claim in claims {
            let cancelled = CancellationToken::new();
            self.running.insert(&claim, cancelled.clone());
            let sink = LogSink::new(
                LogOf { instance: claim.instance, try_number: claim.try_number, run_day: claim.run_day },
                self.lines.clone(),
            );
            let attempt = Attempt {
                worker: self.id,
                setting: Setting {
                    pool: self.worker.pool.clone(),
                    registry: Arc::clone(&self.worker.registry),
                    graphs: self.worker.graphs.clone(),
                    keys: self.worker.settings.keys.clone(),
                    overflow: self.worker.settings.overflow.clone(),
                    lists: Arc::clone(&self.worker.lists),
                    cancelled,
                    endings: TaskTracker::new(),
                },
                body_process: self.worker.settings.body_process.clone(),
            };
            let done = self.done.clone();
            tokio::spawn(async move {
                // Nobody takes it when the lease was lost; then it is somebody else's task.
                done.send(execute(attempt, claim, sink).await).await.ok();
            });
        }
    }
}

async fn end_after(stop: CancellationToken, patience: Duration, give_up: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(patience).await;
    give_up.cancel();
}

/// The failure in place of an outcome that cannot be written; none if not even that can be: the lease will tell.
fn unwritable(outcome: &Outcome, error: &anyhow::Error) -> Option<Outcome> {
    let is_one = matches!(&outcome.ending, Ending::Failed { cause } if cause.starts_with(UNWRITABLE));
    let ending = Ending::Failed { cause: format!("{UNWRITABLE}: {error:#}") };
    (!is_one).then(|| Outcome { ending, skips: Vec::new(), ..outcome.clone() })
}

/// How often this binary tries what it seems unable to do: half a minute.
const UNABLE_MAX: u32 = 10;

/// How the cause begins when what a task returned cannot be stored.
const UNWRITABLE: &str = "the outcome cannot be stored";

fn batch_from(first: Option<Outcome>, more: &mut mpsc::Receiver<Outcome>) -> Vec<Outcome> {
    let mut batch: Vec<_> = first.into_iter().collect();
    while batch.len() < BATCH
        && let Ok(outcome) = more.try_recv()
    {
        batch.push(outcome);
    }
    batch
}
