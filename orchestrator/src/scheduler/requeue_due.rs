//! Duty: repeat what failed when its delay is over, by the same rules and limits as the first time: one whose upstream
//! was cleared meanwhile waits for it again, one that a branch has skipped meanwhile is skipped.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use crate::{
    engine::{Freed, Graphs, move_on},
    ids::RunKey,
    store::{retries, runs},
};

/// Runs in one pass; the rest is the next pass's.
const BATCH: i64 = 1_000;

pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut requeued = 0;
    for run in retries::runs_with_due(conn, now, BATCH).await? {
        match decide_anew(conn, graphs, run, now).await {
            Ok(more) => requeued += more,
            Err(error) => tracing::error!(%run, error = format!("{error:#}"), "cannot repeat its tasks"),
        }
    }
    Ok(requeued)
}

/// Under the run's lock: a sibling that ends at this moment must find the retries waiting.
async fn decide_anew(conn: &mut PgConnection, graphs: &Graphs, run: RunKey, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut tx = conn.begin().await?;
    let Some(run) = runs::lock_waiting(&mut tx, run).await? else { return Ok(0) };
    let waiting = retries::wait_again_if_due(&mut tx, run.run_key, now).await?;
    move_on(&mut tx, graphs, &[run], Freed::default()).await?;
    tx.commit().await?;
    Ok(waiting)
}
