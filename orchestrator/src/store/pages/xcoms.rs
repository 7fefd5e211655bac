//! Lists of what tasks returned, and one of it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{self, Column, Selection, Source, Sql},
};
use crate::{
    ids::{DagId, RunId, RunKey, TaskId},
    overflow::Stored,
};

/// Something that a task returned, without the value itself.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct XcomListed {
    /// The run.
    pub run_key: RunKey,
    /// What it is called: `return_value`, or what somebody called it.
    pub key: String,
    /// When it was written.
    pub written_at: DateTime<Utc>,
    /// The index in a mapped task.
    pub map_index: i32,
    /// The task.
    pub task_id: TaskId,
    /// The DAG.
    pub dag_id: DagId,
    /// The id of the run.
    pub run_id: RunId,
    /// The date that the run stands for.
    pub logical_date: Option<DateTime<Utc>>,
    /// Not before this instant.
    pub run_after: DateTime<Utc>,
}

/// What they are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XcomColumn {
    /// What it is called.
    Key,
    /// The DAG.
    DagId,
    /// The id of the run.
    RunId,
    /// The task.
    TaskId,
    /// The index in a mapped task.
    MapIndex,
    /// When it was written.
    WrittenAt,
    /// The date that the run stands for.
    LogicalDate,
    /// Not before this instant.
    RunAfter,
}

impl Column for XcomColumn {
    fn sql(self) -> Sql {
        match self {
            Self::Key => Sql::of("x.key", "text"),
            Self::DagId => Sql::of("r.dag_id", "text").joined(),
            Self::RunId => Sql::of("r.run_id", "text").joined(),
            Self::TaskId => Sql::of("x.task_id", "text"),
            Self::MapIndex => Sql::of("x.map_index", "int"),
            Self::WrittenAt => Sql::of("x.written_at", "timestamptz"),
            Self::LogicalDate => Sql::maybe("r.logical_date", "timestamptz").joined(),
            Self::RunAfter => Sql::of("r.run_after", "timestamptz").joined(),
        }
    }
}

/// Which of them.
pub type XcomFilter = Selection<XcomColumn>;

const XCOMS: Source = Source {
    columns: "x.run_key, x.key, x.written_at, x.map_index, x.task_id, r.dag_id, r.run_id, r.logical_date, r.run_after",
    from: "xcom x",
    joins: "join dag_run r on r.run_key = x.run_key",
    key: &[
        Sql::of("x.run_key", "bigint"),
        Sql::of("x.task_id", "text"),
        Sql::of("x.map_index", "int"),
        Sql::of("x.key", "text"),
        Sql::of("x.run_day", "date"),
    ],
};

/// What tasks returned.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &XcomFilter, page: Page) -> sqlx::Result<Listed<XcomListed>> {
    select::list(conn, XCOMS, filter, page).await
}

/// The value of one of them.
///
/// # Errors
/// The database is down.
pub async fn value(conn: &mut PgConnection, xcom: &XcomListed) -> sqlx::Result<Option<Stored>> {
    let row = sqlx::query!(
        "select value, object, items from xcom where run_key = $1 and task_id = $2 and map_index = $3 and key = $4",
        xcom.run_key.0,
        xcom.task_id.as_str(),
        xcom.map_index,
        xcom.key
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| match row.object {
        Some(object) => Stored::Object { object, items: row.items },
        None => Stored::Inline(row.value),
    }))
}

/// Writes a value under a name; what was there before is gone.
///
/// # Errors
/// The database is down.
pub async fn put(
    conn: &mut PgConnection,
    run: RunKey,
    task: &TaskId,
    map_index: i32,
    key: &str,
    value: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into xcom (run_day, run_key, task_id, map_index, key, value)
         select run_day, run_key, $2, $3, $4, $5 from dag_run where run_key = $1
         on conflict (run_key, task_id, map_index, key, run_day)
         do update set value = excluded.value, object = null, items = null, written_at = now()",
        run.0,
        task.as_str(),
        map_index,
        key,
        value
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes one away; false if there is none.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, xcom: &XcomListed) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "delete from xcom where run_key = $1 and task_id = $2 and map_index = $3 and key = $4",
        xcom.run_key.0,
        xcom.task_id.as_str(),
        xcom.map_index,
        xcom.key
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
