//! Duty: end the runs that took longer than their `dagrun_timeout`. Airflow's rule: the run has failed, and what has
//! not ended is skipped; what runs is stopped.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use crate::{
    engine::{Freed, Graphs, about_run, move_on},
    ids::RunKey,
    state::{RunState, TaskState},
    store::{
        nodes,
        overrides::{self, Chosen, Verdict},
        rechecks, run_locks, run_states,
    },
};

/// Runs in one pass; the rest is the next pass's.
const BATCH: i64 = 100;

pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut ended = 0;
    for run in run_states::timed_out(conn, now, BATCH).await? {
        match time_out(conn, graphs, run, now).await {
            Ok(was_running) => ended += u64::from(was_running),
            Err(error) => tracing::error!(%run, error = format!("{error:#}"), "cannot end it"),
        }
    }
    Ok(ended)
}

async fn time_out(conn: &mut PgConnection, graphs: &Graphs, run: RunKey, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let mut tx = conn.begin().await?;
    let Some(locked) = run_locks::lock_soon(&mut tx, run).await? else { return Ok(false) };
    // It may have ended, or been cleared and started anew, while we waited.
    if !run_states::timed_out_now(&mut tx, run, now).await? {
        return Ok(false);
    }
    let graph = graphs.get(&mut tx, locked.version).await?;
    let mut unfinished = overrides::lock_of_run(&mut tx, run).await?;
    unfinished.retain(|task| !task.state.is_finished());
    let verdict = |task: &Chosen| Verdict { instance: task.instance, state: TaskState::Skipped };
    overrides::force(&mut tx, &unfinished.iter().map(verdict).collect::<Vec<_>>(), "the run took too long").await?;
    nodes::recount(&mut tx, run, graph.edges()).await?;
    run_states::end(&mut tx, run, RunState::Failed).await?;
    about_run(&mut tx, &graph, run, RunState::Failed).await?;
    rechecks::insert(&mut tx, &[run]).await?;
    move_on(&mut tx, graphs, &[], Freed::by(&graph, &unfinished)).await?;
    tx.commit().await?;
    tracing::warn!(%run, dag = %graph.dag_id(), timeout = ?graph.dagrun_timeout(), "the run took too long");
    Ok(true)
}
