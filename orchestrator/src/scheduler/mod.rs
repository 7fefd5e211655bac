//! The scheduler: one file a duty, each a `run_once(now)` that may run anywhere, any number of times at once. There is
//! no leader, for nothing here depends on being the only one.

mod admit_waiting;
mod create_runs;
mod deliver;
mod heal;
mod housekeeping;
mod promote_runs;
mod recheck_runs;
mod register;
mod remove_gone;
mod requeue_due;
mod rescue_lost;
mod retain;
mod run_for_assets;
mod time_out_runs;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::{deliver::deliver_one, promote_runs::promote, register::register, remove_gone::remove_gone};
use crate::{
    dag::Registry,
    engine::Graphs,
    process::{self, Lease, Steadiness},
    retention::Retention,
    store::{self, backfills, notifications, processes::ProcessKind},
    wake::{self, Wake},
};

/// How long to wait after a pass that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long one pass may take; what it has done by then is done.
const PASS_PATIENCE: Duration = Duration::from_secs(300);

/// Makes runs when they are due, starts them when they may, repeats what failed, and rescues what was lost.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pool: PgPool,
    registry: Arc<Registry>,
    graphs: Graphs,
    wake: Wake,
    lease: Lease,
    retention: Retention,
}

/// What one pass did, duty by duty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    /// Runs made.
    pub created: u64,
    /// Runs started.
    pub promoted: u64,
    /// Retries queued.
    pub requeued: u64,
    /// Attempts taken from lost workers.
    pub rescued: u64,
    /// Runs that took too long.
    pub timed_out: u64,
    /// Runs in which something had happened that matters to others.
    pub rechecked: u64,
    /// Backfills whose last run had ended.
    pub backfilled: u64,
    /// Deadlines that were missed.
    pub late: u64,
    /// Tasks that stood in line although there was room.
    pub admitted: u64,
}

impl Scheduler {
    /// A scheduler for the DAGs of this binary.
    #[must_use]
    pub fn new(pool: PgPool, registry: Arc<Registry>, graphs: Graphs, wake: Wake) -> Self {
        Self { pool, registry, graphs, wake, lease: Lease::default(), retention: Retention::default() }
    }

    /// How long it may be unheard itself; so long it waits after a standstill before it takes others for lost.
    #[must_use]
    pub fn lease(self, lease: Lease) -> Self {
        Self { lease, ..self }
    }

    /// How long what has ended is kept.
    #[must_use]
    pub fn retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// Registers the DAGs, then does its duties until `stop`. A database that is down is waited for.
    pub async fn run(self, stop: CancellationToken) {
        let steadiness = Steadiness::default();
        let beats = tokio::spawn(process::stay_registered(
            self.pool.clone(),
            ProcessKind::Scheduler,
            Some(self.registry.fingerprint()),
            self.lease,
            steadiness.clone(),
            stop.clone(),
        ));
        let rescue = rescue_lost::Rescue {
            pool: self.pool.clone(),
            graphs: self.graphs.clone(),
            wake: self.wake.clone(),
            lease: self.lease,
            steadiness,
        };
        let delivering = tokio::spawn(deliver::run(self.pool.clone(), Arc::clone(&self.registry), stop.clone()));
        let retaining = tokio::spawn(retain::run(self.pool.clone(), self.retention, stop.clone()));
        tokio::join!(self.passes(&stop), rescue.run(&stop));
        beats.await.ok();
        delivering.await.ok();
        // What it has not deleted yet, the next one does.
        retaining.abort();
    }

    async fn passes(&self, stop: &CancellationToken) {
        let mut registered = false;
        let mut rounds = Rounds::default();
        while !stop.is_cancelled() {
            let pause = match store::in_time(PASS_PATIENCE, self.pass(&mut registered, &mut rounds)).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "scheduler pass failed; trying again");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.scheduler_woken() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn pass(&self, registered: &mut bool, rounds: &mut Rounds) -> anyhow::Result<Duration> {
        let mut conn = self.pool.acquire().await?;
        if !*registered {
            register(&mut conn, &self.registry).await?;
            *registered = true;
        }
        if is_due(&mut rounds.housekeeping, housekeeping::EVERY) {
            housekeeping::run_once(&mut conn).await?;
        }
        if is_due(&mut rounds.healing, heal::EVERY) {
            heal::run_once(&mut conn, &self.graphs).await?;
        }
        if is_due(&mut rounds.removing, remove_gone::EVERY) {
            remove_gone(&mut conn, &self.registry, &self.graphs).await?;
        }
        let now = store::now(&mut conn).await?;
        let pass = self.duties(&mut conn, now).await?;
        if pass != Pass::default() {
            tracing::debug!(?pass, "scheduler pass");
            self.wake.everybody();
        }
        let due = store::runs::next_due(&mut conn).await?;
        // What is due and was not done now (a DAG at its max_active_runs) must not make the loop spin.
        let is_idle = pass == Pass::default();
        let ahead = due.and_then(|due| (due - now).to_std().ok()).filter(|ahead| !ahead.is_zero() || !is_idle);
        Ok(ahead.unwrap_or(wake::POLL).clamp(SHORTEST_PAUSE, wake::POLL))
    }

    /// Every duty once, as of `now`.
    ///
    /// # Errors
    /// The database is down.
    pub async fn run_once(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<Pass> {
        rescue_lost::mark_lost(conn, now).await?;
        let rescued = rescue_lost::run_once(conn, &self.graphs).await?;
        Ok(Pass { rescued, ..self.duties(conn, now).await? })
    }

    /// All but the rescue of what is lost, which goes on beside them.
    async fn duties(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<Pass> {
        Ok(Pass {
            created: create_runs::run_once(conn, &self.registry, &self.graphs, now).await?
                + run_for_assets::run_once(conn, &self.registry, &self.graphs, now).await?,
            timed_out: time_out_runs::run_once(conn, &self.graphs, now).await?,
            requeued: requeue_due::run_once(conn, &self.graphs, now).await?,
            promoted: promote_runs::run_once(conn, &self.registry, &self.graphs, now).await?,
            rechecked: recheck_runs::run_once(conn, &self.graphs).await?,
            backfilled: backfills::complete_ended(conn).await?,
            late: notifications::miss_deadlines(conn, now).await?,
            admitted: admit_waiting::run_once(conn, &self.graphs).await?,
            ..Pass::default()
        })
    }
}

/// When the duties that are not for every pass were done last.
#[derive(Debug, Default)]
struct Rounds {
    housekeeping: Option<Instant>,
    healing: Option<Instant>,
    removing: Option<Instant>,
}

/// Whether so much time has passed; then it begins anew.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

/// Many things that are due one after the other share a pass.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
