//! One incarnation of a worker: outcomes come in, claims go out.

use std::{sync::Arc, time::Duration};

use sqlx::PgConnection;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BACKOFF_MAX, HAND_BACK_PATIENCE, Worker,
    body::Setting,
    execute::{Attempt, execute},
    running::Running,
};
use crate::{
    engine::{Abilities, Claimant, Ending, Outcome, Settled, settle},
    ids::ProcessId,
    store::{self, instances::Claim},
    task_log::{LogLine, LogOf, LogSink},
    wake,
};

/// Outcomes in one transaction. More would not be faster, and a batch that fails is halved.
const BATCH: usize = 256;

/// It, and what it has to hand.
pub(super) struct Desk<'a> {
    pub(super) worker: &'a Worker,
    pub(super) id: ProcessId,
    pub(super) abilities: Abilities,
    pub(super) running: Running,
    pub(super) lines: &'a mpsc::Sender<(LogOf, LogLine)>,
    pub(super) done: mpsc::Sender<Outcome>,
    /// Ends when the worker has been stopping for as long as it may.
    pub(super) give_up: &'a CancellationToken,
    /// Kept between settles: taking one from the pool asks the database whether it still lives, at every hop. Not of the
    /// pool: a settle that is dropped while it waits for a run's lock must close its connection, not give it back with
    /// the lock still to come.
    pub(super) conn: Option<PgConnection>,
}

/// Outcomes to be settled, and how often this binary seemed unable to.
struct Batch {
    outcomes: Vec<Outcome>,
    unable: u32,
}

impl Desk<'_> {
    /// Until `stop`: settle what ended, claim what fits.
    pub(super) async fn work(&mut self, outcomes: &mut mpsc::Receiver<Outcome>, stop: &CancellationToken) {
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = outcomes.recv() => batch_from(outcome, outcomes),
                () = self.worker.wake.worker_woken() => Vec::new(),
                () = tokio::time::sleep(wake::POLL) => Vec::new(),
            };
            self.settle(batch, self.worker.settings.slots).await;
        }
    }

    /// Waits for what still runs, for as long as it may; then hands it back. False if the lease was lost meanwhile.
    pub(super) async fn drain(
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
                    self.settle(batch, 0).await;
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
            self.settle(done, 0).await;
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

    /// Settles a batch, however long the database takes, and claims as many as so many slots have room for.
    async fn settle(&mut self, batch: Vec<Outcome>, slots: u32) {
        let ended: Vec<_> = batch.iter().map(|outcome| outcome.attempt).collect();
        let began = Instant::now();
        let mut open = vec![Batch { outcomes: batch, unable: 0 }];
        while let Some(batch) = open.pop() {
            let free = i64::from(slots) - self.running.count_without(&ended) as i64;
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
        let settling = settle(&mut conn, &self.worker.graphs, batch, Some(claimant));
        let settled = store::in_time(self.worker.settings.patience, settling).await?;
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
