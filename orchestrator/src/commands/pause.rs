//! Pause and unpause.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{Origin, Refused, write_down};
use crate::{
    engine::Graphs,
    ids::DagId,
    store::{self, dags},
};

/// Stops or resumes the schedule of a DAG and the start of its queued runs.
///
/// # Errors
/// [`Refused`].
pub async fn set_paused(
    conn: &mut PgConnection,
    graphs: &Graphs,
    dag: &DagId,
    paused: bool,
    origin: Origin,
) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    if !dags::set_paused(&mut tx, dag, paused).await? {
        return Err(Refused::NoDag(dag.clone()));
    }
    if let Some(row) = dags::lock(&mut tx, dag).await?.filter(|_| !paused) {
        let graph = graphs.get(&mut tx, row.current_version_id).await?;
        let now = store::now(&mut tx).await?;
        let timetable = graph.schedule().parse().map_err(anyhow::Error::from)?;
        let next = timetable.upcoming(graph.window(), row.last_slot, None, now);
        dags::set_slots(&mut tx, dag, row.last_slot, next).await?;
    }
    write_down(&mut tx, if paused { "pause_dag" } else { "unpause_dag" }, dag, None, origin, json!({})).await?;
    tx.commit().await?;
    Ok(())
}
