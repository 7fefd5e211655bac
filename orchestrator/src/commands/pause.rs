//! Pause and unpause.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{By, Refused, write_down};
use crate::{
    engine::{self, Graphs},
    ids::DagId,
    store::{self, dags},
};

/// Stops or resumes the schedule of a DAG, the start of its queued runs, and the next tasks of those that run.
///
/// # Errors
/// [`Refused`].
pub async fn set_paused(
    conn: &mut PgConnection,
    graphs: &Graphs,
    dag: &DagId,
    paused: bool,
    by: &By,
) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    set_paused_within(&mut tx, graphs, dag, paused, by).await?;
    tx.commit().await?;
    Ok(())
}

/// The same, in the caller's transaction.
///
/// # Errors
/// [`Refused`].
pub async fn set_paused_within(
    tx: &mut PgConnection,
    graphs: &Graphs,
    dag: &DagId,
    paused: bool,
    by: &By,
) -> Result<(), Refused> {
    let row = dags::lock(tx, dag).await?.ok_or_else(|| Refused::NoDag(dag.clone()))?;
    dags::set_paused(tx, dag, paused).await?;
    if !paused {
        let graph = graphs.get(tx, row.current_version_id).await?;
        let now = store::now(tx).await?;
        let timetable = graph.schedule().parse().map_err(anyhow::Error::from)?;
        let next = timetable.upcoming(graph.window(), row.last_slot, None, now);
        dags::set_slots(tx, dag, row.last_slot, next).await?;
    }
    match (row.is_paused, paused) {
        (false, true) => engine::hold_runs(tx, graphs, dag).await?,
        (true, false) => engine::let_runs_go(tx, graphs, dag).await?,
        _ => {}
    }
    write_down(tx, if paused { "pause_dag" } else { "unpause_dag" }, dag, None, by, json!({})).await?;
    Ok(())
}
