//! Duty: queue the retries whose delay is over. One whose upstream was cleared meanwhile waits for it again.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use crate::{
    engine::{Graphs, move_on},
    ids::RunKey,
    readiness::{Decision, Setups, decide},
    store::{
        retries::{self, DueRetry},
        runs,
    },
};

/// Retries in one pass; the rest is the next pass's.
const BATCH: i64 = 1_000;

pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let (mut ready, mut waiting) = (Vec::new(), BTreeSet::new());
    for retry in retries::due_retries(conn, now, BATCH).await? {
        match decision(conn, graphs, &retry).await {
            Ok(Decision::Run) => ready.push(retry.instance),
            Ok(_) => {
                waiting.insert(retry.run_key);
            }
            Err(error) => tracing::error!(instance = %retry.instance, error = format!("{error:#}"), "cannot retry it"),
        }
    }
    let mut requeued = 0;
    if !ready.is_empty() {
        requeued += retries::requeue_if_due(conn, &ready, now).await?;
    }
    for run in waiting {
        requeued += decide_anew(conn, graphs, run, now).await?;
    }
    Ok(requeued)
}

async fn decision(conn: &mut PgConnection, graphs: &Graphs, retry: &DueRetry) -> anyhow::Result<Decision> {
    let graph = graphs.get(conn, retry.version).await?;
    if retry.is_skipped || !graph.setups(retry.node).is_empty() {
        // More than counts decide: the run is to be looked at as a whole.
        return Ok(Decision::Wait);
    }
    let rule = graph.task(retry.node).map(|task| task.trigger_rule).unwrap_or_default();
    Ok(decide(rule, retry.counts, Setups::default()))
}

/// Takes the due retries of a run back to waiting and decides the run, under its lock: a sibling that ends at this
/// moment must find them waiting.
async fn decide_anew(conn: &mut PgConnection, graphs: &Graphs, run: RunKey, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut tx = conn.begin().await?;
    let Some(run) = runs::lock_waiting(&mut tx, run).await? else { return Ok(0) };
    let waiting = retries::wait_again_if_due(&mut tx, run.run_key, now).await?;
    move_on(&mut tx, graphs, run).await?;
    tx.commit().await?;
    Ok(waiting)
}
