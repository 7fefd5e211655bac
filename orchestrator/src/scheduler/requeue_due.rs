//! Duty: repeat what failed when its delay is over, and let sensors look again.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use crate::{
    engine::{Graphs, repeat_due},
    ids::RunKey,
    state::RunState,
    store::{due, run_locks},
};

/// Runs in one pass; the rest is the next pass's.
const BATCH: i64 = 1_000;

pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut requeued = 0;
    for run in due::runs(conn, now, BATCH).await? {
        match requeue(conn, graphs, run, now).await {
            Ok(more) => requeued += more,
            Err(error) => tracing::error!(%run, error = format!("{error:#}"), "cannot repeat its tasks"),
        }
    }
    Ok(requeued)
}

/// Under the run's lock: a sibling that ends at this moment must find what is due waiting.
async fn requeue(conn: &mut PgConnection, graphs: &Graphs, run: RunKey, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut tx = conn.begin().await?;
    let locked = run_locks::lock_soon(&mut tx, run).await?;
    let Some(run) = locked.filter(|run| run.state == RunState::Running) else { return Ok(0) };
    let due = repeat_due(&mut tx, graphs, run, now).await?;
    tx.commit().await?;
    Ok(due as u64)
}
