//! Duty: start the queued runs that `max_active_runs` has room for.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use crate::{
    dag::Registry,
    engine::{Freed, Graphs, move_on},
    ids::DagId,
    state::RunState,
    store::{backfills, dags, run_locks, run_states, runs},
};

pub(super) async fn run_once(
    conn: &mut PgConnection,
    registry: &Registry,
    graphs: &Graphs,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let mut promoted = 0;
    for dag in runs::dags_with_queued(conn, now).await?.into_iter().filter(|dag| registry.get(dag).is_some()) {
        match promote(conn, graphs, &dag, now).await {
            Ok(more) => promoted += more,
            Err(error) => tracing::error!(%dag, error = format!("{error:#}"), "cannot start its runs"),
        }
    }
    Ok(promoted)
}

/// Starts queued runs of one DAG. The DAG's row is locked first: two schedulers together must not start more than
/// `max_active_runs`.
///
/// # Errors
/// The database is down.
pub async fn promote(conn: &mut PgConnection, graphs: &Graphs, dag: &DagId, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut tx = conn.begin().await?;
    let Some(row) = dags::lock_if_free(&mut tx, dag).await?.filter(|row| !row.is_paused) else { return Ok(0) };
    let max_active_runs = graphs.get(&mut tx, row.current_version_id).await?.max_active_runs();
    let mut started = Vec::new();
    let mut queued = run_locks::lock_queued(&mut tx, dag, i64::from(max_active_runs), now).await?;
    queued.extend(backfills::lock_queued(&mut tx, dag).await?);
    for mut run in queued {
        let timeout = graphs.get(&mut tx, run.version).await?.dagrun_timeout();
        if run_states::start_if_queued(&mut tx, run.run_key, now, timeout).await? {
            run.state = RunState::Running;
            started.push(run);
        }
    }
    move_on(&mut tx, graphs, &started, Freed::default()).await?;
    tx.commit().await?;
    Ok(started.len() as u64)
}
