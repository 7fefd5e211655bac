//! Duty: take the tasks of workers that are gone, to their next try or to failure, with the cause in their log. It goes on
//! beside the others: neither a pass that takes long nor one that fails every time may keep a killed worker's tasks waiting.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Ending, Graphs, Outcome, settle},
    process::{Clock, Lease, Steadiness},
    retry::{self, FailedTry, delay_before_next_try},
    store::{
        self, logs, processes,
        rescue::{self, LostAttempt},
    },
    task_log::{LogLine, LogOf},
    wake::{self, Wake},
};

/// Attempts in one pass; the rest is the next pass's.
const BATCH: i64 = 500;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it needs.
pub(super) struct Rescue {
    pub(super) pool: PgPool,
    pub(super) graphs: Graphs,
    pub(super) wake: Wake,
    pub(super) lease: Lease,
    pub(super) steadiness: Steadiness,
}

impl Rescue {
    /// Rescues until `stop`.
    pub(super) async fn run(self, stop: &CancellationToken) {
        let mut clock = Clock::default();
        while !stop.is_cancelled() {
            match store::in_time(PATIENCE, self.look(&mut clock)).await {
                Ok(0) => {}
                Ok(_) => self.wake.everybody(),
                Err(error) => {
                    if error.downcast_ref::<sqlx::Error>().is_some_and(store::is_transient) {
                        self.steadiness.interrupt();
                    }
                    tracing::warn!(error = format!("{error:#}"), "cannot look for lost processes; trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wake::POLL) => {}
            }
        }
    }

    async fn look(&self, clock: &mut Clock) -> anyhow::Result<u64> {
        let mut conn = self.pool.acquire().await?;
        let now = store::now(&mut conn).await?;
        // After a time in which nobody could renew a lease, everybody first gets the time to do so; also when the
        // database's clock was set, and leases are over of which nothing has passed.
        if clock.has_jumped(self.lease, now, Instant::now()) {
            tracing::warn!("the clock of the database has jumped: nobody is lost for that");
            self.steadiness.interrupt();
        }
        if self.steadiness.has_lasted(self.lease) {
            mark_lost(&mut conn, now).await?;
        }
        run_once(&mut conn, &self.graphs).await
    }
}

/// Marks the processes whose lease is over.
pub(super) async fn mark_lost(conn: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<()> {
    for process in processes::mark_lost(conn, now).await? {
        tracing::warn!(process = %process.process_id, kind = ?process.kind, host = process.hostname, "lost: no heartbeat");
    }
    Ok(())
}

/// Rescues what processes that are marked lost, or that nobody knows, had claimed.
pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs) -> anyhow::Result<u64> {
    let lost = rescue::lost(conn, BATCH).await?;
    let mut rescued = 0;
    for attempt in lost {
        let instance = attempt.instance;
        match rescue(conn, graphs, attempt).await {
            Ok(was_rescued) => rescued += u64::from(was_rescued),
            Err(error) => tracing::error!(%instance, error = format!("{error:#}"), "cannot rescue it"),
        }
    }
    Ok(rescued)
}

async fn rescue(conn: &mut PgConnection, graphs: &Graphs, attempt: LostAttempt) -> anyhow::Result<bool> {
    let host = attempt.hostname.as_deref().unwrap_or("an unknown host");
    let cause = format!("the worker {} on {host} is gone: its heartbeat stopped", attempt.worker);
    let ending = after_loss(conn, graphs, &attempt, cause.clone()).await?;
    let outcome = Outcome {
        instance: attempt.instance,
        attempt: attempt.attempt,
        worker: attempt.worker,
        run_key: attempt.run_key,
        run_day: attempt.run_day,
        version: attempt.version,
        node: attempt.node,
        map_index: attempt.map_index,
        ending,
        skips: Vec::new(),
    };
    let settled = settle(conn, graphs, vec![outcome], None).await?;
    // Its own last result came first, or another scheduler was faster.
    if !settled.stale.is_empty() {
        return Ok(false);
    }
    let of = LogOf { instance: attempt.instance, try_number: attempt.try_number, run_day: attempt.run_day };
    let line = LogLine { at: Utc::now(), level: "ERROR", logger: "streamcommerce.task".to_owned(), message: cause };
    logs::append(conn, &[(of, line)]).await?;
    Ok(true)
}

async fn after_loss(
    conn: &mut PgConnection,
    graphs: &Graphs,
    attempt: &LostAttempt,
    cause: String,
) -> anyhow::Result<Ending> {
    let graph = graphs.get(conn, attempt.version).await?;
    let policy = graph.task(attempt.node).map(|task| task.retry).unwrap_or_default();
    let failed = FailedTry {
        identity: &retry::identity(&attempt.dag_id, &attempt.run_id, attempt.node, attempt.map_index),
        try_number: u32::try_from(attempt.try_number).unwrap_or(1),
        max_tries: u32::try_from(attempt.max_tries).unwrap_or(0),
    };
    Ok(match delay_before_next_try(&policy, failed) {
        Some(delay) => Ending::Retry { delay, cause },
        None => Ending::Failed { cause },
    })
}
