//! `event`: who did what.

use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    commands::By,
    ids::{DagId, RunId},
};

/// Something that somebody did.
#[derive(Debug)]
pub struct Event<'a> {
    /// What, in Airflow's words (`trigger_dag_run`, `clear_task_instances`, ...).
    pub event: &'a str,
    /// To which DAG, if to one.
    pub dag_id: Option<&'a DagId>,
    /// To which run.
    pub run_id: Option<&'a RunId>,
    /// Who.
    pub by: &'a By,
    /// The details.
    pub extra: Value,
}

/// Writes it down, in the transaction that does it.
///
/// # Errors
/// The database is down.
pub async fn append(conn: &mut PgConnection, event: &Event<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into event (event, dag_id, run_id, owner, way, from_address, extra)
         values ($1, $2, $3, $4, $5, $6, $7)",
        event.event,
        event.dag_id.map(DagId::as_str),
        event.run_id.map(RunId::as_str),
        event.by.owner(),
        event.by.way.as_str(),
        event.by.from.map(|address| address.to_string()),
        event.extra
    )
    .execute(conn)
    .await?;
    Ok(())
}
