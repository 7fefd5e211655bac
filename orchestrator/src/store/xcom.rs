//! `xcom`: what tasks returned.

use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{RunKey, TaskId};

/// What an unmapped task returned in a run.
///
/// # Errors
/// The database is down.
pub async fn return_value(conn: &mut PgConnection, run: RunKey, task: &TaskId) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar!(
        "select value from xcom where run_key = $1 and task_id = $2 and map_index = -1 and key = 'return_value'",
        run.0,
        task.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// Forgets what tasks returned, because they are to run again.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, run: RunKey, tasks: &[String]) -> sqlx::Result<()> {
    sqlx::query!("delete from xcom where run_key = $1 and task_id = any($2)", run.0, tasks).execute(conn).await?;
    Ok(())
}
