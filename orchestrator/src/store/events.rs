//! `event`: who did what.

use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{DagId, RunId};

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
    pub owner: &'a str,
    /// The details.
    pub extra: Value,
}

/// Writes it down, in the transaction that does it.
///
/// # Errors
/// The database is down.
pub async fn append(conn: &mut PgConnection, event: &Event<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into event (event, dag_id, run_id, owner, extra) values ($1, $2, $3, $4, $5)",
        event.event,
        event.dag_id.map(DagId::as_str),
        event.run_id.map(RunId::as_str),
        event.owner,
        event.extra
    )
    .execute(conn)
    .await?;
    Ok(())
}
