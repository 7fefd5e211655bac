//! `xcom`: what tasks returned. A statement names the day of the run: there is a partition for each.

use chrono::NaiveDate;
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    ids::{InstanceKey, RunKey, TaskId},
    overflow::Stored,
};

/// A row, as it is read.
struct Row {
    value: Value,
    object: Option<String>,
    items: Option<i32>,
}

impl From<Row> for Stored {
    fn from(row: Row) -> Self {
        match row.object {
            Some(object) => Self::Object { object, items: row.items },
            None => Self::Inline(row.value),
        }
    }
}

/// What a task instance returned.
///
/// # Errors
/// The database is down.
pub async fn return_value(
    conn: &mut PgConnection,
    run: RunKey,
    day: NaiveDate,
    task: &TaskId,
    map_index: i32,
) -> sqlx::Result<Option<Stored>> {
    let row = sqlx::query_as!(
        Row,
        "select value, object, items from xcom
         where run_key = $1 and run_day = $4 and task_id = $2 and map_index = $3 and key = 'return_value'",
        run.0,
        task.as_str(),
        map_index,
        day
    );
    Ok(row.fetch_optional(conn).await?.map(Stored::from))
}

/// What the instances of a mapped task returned, in the order of their indexes; those that returned nothing are left
/// out.
///
/// # Errors
/// The database is down.
pub async fn return_values(
    conn: &mut PgConnection,
    run: RunKey,
    day: NaiveDate,
    task: &TaskId,
) -> sqlx::Result<Vec<Stored>> {
    let rows = sqlx::query_as!(
        Row,
        "select value, object, items from xcom
         where run_key = $1 and run_day = $3 and task_id = $2 and map_index >= 0 and key = 'return_value'
         order by map_index",
        run.0,
        task.as_str(),
        day
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(Stored::from).collect())
}

/// What one of the instances of a mapped task returned: the one at `position` among [`return_values`].
///
/// # Errors
/// The database is down.
pub async fn nth_return_value(
    conn: &mut PgConnection,
    run: RunKey,
    day: NaiveDate,
    task: &TaskId,
    position: i32,
) -> sqlx::Result<Option<Stored>> {
    let row = sqlx::query_as!(
        Row,
        "select value, object, items from xcom
         where run_key = $1 and run_day = $4 and task_id = $2 and map_index >= 0 and key = 'return_value'
         order by map_index limit 1 offset $3",
        run.0,
        task.as_str(),
        i64::from(position),
        day
    );
    Ok(row.fetch_optional(conn).await?.map(Stored::from))
}

/// One item of the list that a task returned; if it is in the bucket, all of the list.
///
/// # Errors
/// The database is down.
pub async fn item(
    conn: &mut PgConnection,
    run: RunKey,
    day: NaiveDate,
    task: &TaskId,
    index: i32,
) -> sqlx::Result<Option<Stored>> {
    let row = sqlx::query_as!(
        Row,
        r#"select coalesce(value -> $3::int, 'null') as "value!", object, items from xcom
           where run_key = $1 and run_day = $4 and task_id = $2 and map_index = -1 and key = 'return_value'
             and (object is not null or value -> $3::int is not null)"#,
        run.0,
        task.as_str(),
        index,
        day
    );
    Ok(row.fetch_optional(conn).await?.map(Stored::from))
}

/// What a task instance returned.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'o> {
    /// The task instance.
    pub instance: InstanceKey,
    /// What it returned.
    pub result: &'o Stored,
}

/// Keeps what task instances returned. Hold their runs' locks.
///
/// # Errors
/// The database is down, or a value cannot be written.
pub async fn keep(conn: &mut PgConnection, kept: &[Kept<'_>]) -> sqlx::Result<()> {
    let (mut instances, mut values, mut objects, mut items) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for kept in kept {
        let (value, object, length) = match kept.result {
            Stored::Inline(value) => (value.clone(), None, None),
            Stored::Object { object, items } => (Value::Null, Some(object.as_str()), *items),
        };
        instances.push(kept.instance.0);
        values.push(value);
        objects.push(object);
        items.push(length);
    }
    sqlx::query!(
        "insert into xcom (run_day, run_key, task_id, map_index, key, value, object, items)
         select r.run_day, t.run_key, t.task_id, t.map_index, 'return_value', k.value, k.object, k.items
         from unnest($1::bigint[], $2::jsonb[], $3::text[], $4::int[]) as k(instance_key, value, object, items)
         join task_instance t using (instance_key) join dag_run r using (run_key)
         on conflict (run_key, task_id, map_index, key, run_day)
         do update set value = excluded.value, object = excluded.object, items = excluded.items, written_at = now()",
        &instances,
        &values,
        &objects as &[Option<&str>],
        &items as &[Option<i32>]
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
        "delete from xcom x using task_instance t, dag_run r
         where t.instance_key = any($1) and r.run_key = t.run_key and x.run_day = r.run_day
           and x.run_key = t.run_key and x.task_id = t.task_id and x.map_index = t.map_index",
        &instances
    )
    .execute(conn)
    .await?;
    Ok(())
}
