//! Duty: what happened in a run and matters to others of its DAG. The next run may go on (`depends_on_past`), or the
//! DAG is paused, for its last runs have failed (`max_consecutive_failed_dag_runs`).

use sqlx::{Connection, PgConnection};

use crate::{
    commands::{By, set_paused_within},
    engine::{Freed, Graphs, move_on},
    ids::{DagId, RunKey},
    state::RunState,
    store::{dags, rechecks, run_locks},
};

/// What was written down, in one pass; the rest is the next pass's.
const BATCH: usize = 1_000;

/// Runs after the one in which something happened that are looked at: the next scheduled one and manual runs between.
const NEXT: i64 = 20;

pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs) -> anyhow::Result<u64> {
    let (mut rechecked, mut last) = (0, 0);
    for _ in 0..BATCH {
        let mut tx = conn.begin().await?;
        let Some((recheck_id, run)) = rechecks::take_one(&mut tx, last).await? else { break };
        last = recheck_id;
        // It stays written down (a newer binary may have made a graph that this one cannot read), and must keep neither
        // what was written after it nor the other duties from being done.
        match recheck(&mut tx, graphs, run).await {
            Ok(true) => {
                tx.commit().await?;
                rechecked += 1;
            }
            Ok(false) => tx.rollback().await?,
            Err(error) => {
                tracing::error!(%run, error = format!("{error:#}"), "cannot look at the runs after it");
                tx.rollback().await?;
            }
        }
    }
    Ok(rechecked)
}

/// False if somebody holds one of the runs after it: the next pass looks again.
async fn recheck(tx: &mut PgConnection, graphs: &Graphs, run: RunKey) -> anyhow::Result<bool> {
    // Retention may have deleted it.
    let Some(cause) = rechecks::cause(tx, run).await? else { return Ok(true) };
    // A paused DAG's runs are looked at when it goes on.
    if cause.state == RunState::Failed && pause_if_too_many_failed(tx, graphs, &cause.dag_id).await? {
        return Ok(true);
    }
    let Some(after) = cause.logical_date else { return Ok(true) };
    let mut keys = rechecks::next_active(tx, &cause.dag_id, after, NEXT).await?;
    keys.sort_unstable();
    let mut next = Vec::new();
    for run in keys {
        let Some(locked) = run_locks::lock_soon(tx, run).await? else { return Ok(false) };
        next.push(locked);
    }
    move_on(tx, graphs, &next, Freed::default()).await?;
    Ok(true)
}

/// Says whether it is paused now.
async fn pause_if_too_many_failed(tx: &mut PgConnection, graphs: &Graphs, dag: &DagId) -> anyhow::Result<bool> {
    let Some(row) = dags::lock(tx, dag).await?.filter(|row| !row.is_paused) else { return Ok(false) };
    let graph = graphs.get(tx, row.current_version_id).await?;
    let Some(most) = graph.max_consecutive_failed_dag_runs().filter(|most| *most > 0) else { return Ok(false) };
    let last = rechecks::last_ended(tx, dag, i64::from(most)).await?;
    let has_failed = last.len() == most as usize && last.iter().all(|state| *state == RunState::Failed);
    if has_failed {
        tracing::warn!(%dag, most, "paused: its last runs have all failed");
        set_paused_within(tx, graphs, dag, true, &By::scheduler()).await?;
    }
    Ok(has_failed)
}
