//! Delete: a run, or a DAG with all of its runs. What they wrote down (tries, logs, values) goes with its days.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{By, Refused, write_down};
use crate::{
    ids::{DagId, RunId},
    state::RunState,
    store::{dags, run_locks, runs},
};

/// Deletes a run that is not running, with its task instances.
///
/// # Errors
/// [`Refused`].
pub async fn delete_run(conn: &mut PgConnection, dag: &DagId, run: &RunId, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    let gone = || Refused::NoRun(dag.clone(), run.clone());
    let key = runs::key(&mut tx, dag, run).await?.ok_or_else(gone)?;
    let state = run_locks::lock_to_delete(&mut tx, key).await?.ok_or_else(gone)?;
    if state == RunState::Running {
        return Err(Refused::NotDeletable(dag.clone(), run.clone(), state));
    }
    runs::delete(&mut tx, key).await?;
    write_down(&mut tx, "delete_dag_run", dag, Some(run), by, json!({})).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes a DAG with its runs, all of which have ended. One that is still deployed comes back, without its past, when
/// a scheduler registers it the next time.
///
/// # Errors
/// [`Refused`].
pub async fn delete_dag(conn: &mut PgConnection, dag: &DagId, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    if dags::lock(&mut tx, dag).await?.is_none() {
        return Err(Refused::NoDag(dag.clone()));
    }
    if !dags::is_at_rest(&mut tx, dag).await? {
        return Err(Refused::DagNotAtRest(dag.clone()));
    }
    dags::delete(&mut tx, dag).await?;
    write_down(&mut tx, "delete_dag", dag, None, by, json!({})).await?;
    tx.commit().await?;
    Ok(())
}
