//! `xcom`: what tasks returned.

use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{InstanceKey, RunKey, TaskId};

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

/// What a task instance returned.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'o> {
    /// The task instance.
    pub instance: InstanceKey,
    /// What it returned.
    pub value: &'o Value,
}

/// Keeps what task instances returned. Hold their runs' locks.
///
/// # Errors
/// The database is down, or a value cannot be written.
pub async fn keep(conn: &mut PgConnection, kept: &[Kept<'_>]) -> sqlx::Result<()> {
    let (instances, values): (Vec<_>, Vec<_>) = kept.iter().map(|kept| (kept.instance.0, kept.value.clone())).unzip();
    sqlx::query!(
        "insert into xcom (run_day, run_key, task_id, map_index, key, value)
         select r.run_day, t.run_key, t.task_id, t.map_index, 'return_value', k.value
         from unnest($1::bigint[], $2::jsonb[]) as k(instance_key, value)
         join task_instance t using (instance_key) join dag_run r using (run_key)
         on conflict (run_key, task_id, map_index, key, run_day)
         do update set value = excluded.value, written_at = now()",
        &instances,
        &values
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what tasks returned, because they are to run again.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, run: RunKey, tasks: &[String]) -> sqlx::Result<()> {
    sqlx::query!("delete from xcom where run_key = $1 and task_id = any($2)", run.0, tasks).execute(conn).await?;
    Ok(())
}
