//! `xcom`: what tasks returned.

use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{InstanceKey, RunKey, TaskId};

/// What a task instance returned.
///
/// # Errors
/// The database is down.
pub async fn return_value(
    conn: &mut PgConnection,
    run: RunKey,
    task: &TaskId,
    map_index: i32,
) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar!(
        "select value from xcom where run_key = $1 and task_id = $2 and map_index = $3 and key = 'return_value'",
        run.0,
        task.as_str(),
        map_index
    )
    .fetch_optional(conn)
    .await
}

/// What the instances of a mapped task returned, as a list in the order of their indexes; those that returned nothing
/// are left out.
///
/// # Errors
/// The database is down.
pub async fn return_values(conn: &mut PgConnection, run: RunKey, task: &TaskId) -> sqlx::Result<Value> {
    sqlx::query_scalar!(
        r#"select coalesce(jsonb_agg(value order by map_index), '[]') as "values!" from xcom
           where run_key = $1 and task_id = $2 and map_index >= 0 and key = 'return_value'"#,
        run.0,
        task.as_str()
    )
    .fetch_one(conn)
    .await
}

/// What one of the instances of a mapped task returned: the one at `position` of the list that
/// [`return_values`] is.
///
/// # Errors
/// The database is down.
pub async fn nth_return_value(
    conn: &mut PgConnection,
    run: RunKey,
    task: &TaskId,
    position: i32,
) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar!(
        "select value from xcom where run_key = $1 and task_id = $2 and map_index >= 0 and key = 'return_value'
         order by map_index limit 1 offset $3",
        run.0,
        task.as_str(),
        i64::from(position)
    )
    .fetch_optional(conn)
    .await
}

/// One item of the list that a task returned.
///
/// # Errors
/// The database is down.
pub async fn item(conn: &mut PgConnection, run: RunKey, task: &TaskId, index: i32) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar!(
        r#"select value -> $3::int from xcom
           where run_key = $1 and task_id = $2 and map_index = -1 and key = 'return_value'"#,
        run.0,
        task.as_str(),
        index
    )
    .fetch_optional(conn)
    .await
    .map(Option::flatten)
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

/// Forgets what task instances returned, because they are to run again.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, instances: &[InstanceKey]) -> sqlx::Result<()> {
    let instances: Vec<_> = instances.iter().map(|instance| instance.0).collect();
    sqlx::query!(
        "delete from xcom x using task_instance t
         where t.instance_key = any($1) and x.run_key = t.run_key and x.task_id = t.task_id
           and x.map_index = t.map_index",
        &instances
    )
    .execute(conn)
    .await?;
    Ok(())
}
