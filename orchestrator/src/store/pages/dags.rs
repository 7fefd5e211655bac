//! The list of DAGs, and one DAG.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Listed, Page};
use crate::{
    ids::{DagId, RunId, VersionId},
    state::RunState,
};

/// A DAG in a list. What its graph says is not here: ask the graph of the version.
#[derive(Clone, Debug)]
pub struct DagListed {
    /// Its id.
    pub dag_id: DagId,
    /// Whether it waits.
    pub is_paused: bool,
    /// The version that new runs get.
    pub version: VersionId,
    /// The number of that version.
    pub version_number: i32,
    /// When its next run is due.
    pub next_run_at: Option<DateTime<Utc>>,
    /// When a process last said that it has this DAG.
    pub last_registered_at: DateTime<Utc>,
}

/// Which DAGs.
#[derive(Clone, Debug, Default)]
pub struct DagFilter {
    /// Only these; all if empty.
    pub dag_ids: Vec<String>,
    /// Only those whose id is like this SQL pattern.
    pub id_like: Option<String>,
    /// Only paused, or only unpaused ones.
    pub paused: Option<bool>,
    /// Only those that have one of these tags; all if empty.
    pub tags: Vec<String>,
    /// From the last to the first.
    pub descending: bool,
}

/// DAGs by id.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &DagFilter, page: Page) -> sqlx::Result<Listed<DagListed>> {
    let rows = sqlx::query!(
        r#"select d.dag_id as "dag_id: DagId", d.is_paused, d.current_version_id as "version: VersionId",
                  v.number as version_number, d.next_run_at, d.last_registered_at, count(*) over () as "total!"
           from dag d join dag_version v on v.version_id = d.current_version_id
           where (cardinality($1::text[]) = 0 or d.dag_id = any($1))
             and ($2::text is null or d.dag_id ilike $2)
             and ($3::boolean is null or d.is_paused = $3)
             and (cardinality($4::text[]) = 0 or v.graph -> 'tags' ?| $4)
           order by case when $5 then null else d.dag_id end, d.dag_id desc
           limit $6 offset $7"#,
        &filter.dag_ids,
        filter.id_like,
        filter.paused,
        &filter.tags,
        filter.descending,
        page.limit,
        page.offset
    )
    .fetch_all(conn)
    .await?;
    Ok(Listed {
        total: rows.first().map_or(0, |row| row.total),
        rows: rows
            .into_iter()
            .map(|row| DagListed {
                dag_id: row.dag_id,
                is_paused: row.is_paused,
                version: row.version,
                version_number: row.version_number,
                next_run_at: row.next_run_at,
                last_registered_at: row.last_registered_at,
            })
            .collect(),
    })
}

/// One DAG.
///
/// # Errors
/// The database is down.
pub async fn get(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Option<DagListed>> {
    sqlx::query_as!(
        DagListed,
        r#"select d.dag_id as "dag_id: DagId", d.is_paused, d.current_version_id as "version: VersionId",
                  v.number as version_number, d.next_run_at, d.last_registered_at
           from dag d join dag_version v on v.version_id = d.current_version_id
           where d.dag_id = $1"#,
        dag.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// One of the latest runs of a DAG.
#[derive(Clone, Debug)]
pub struct RecentRun {
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// Where it is.
    pub state: RunState,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
}

/// The latest runs of each of these DAGs, the latest first.
///
/// # Errors
/// The database is down.
pub async fn recent_runs(conn: &mut PgConnection, dags: &[String], each: i64) -> sqlx::Result<Vec<RecentRun>> {
    sqlx::query_as!(
        RecentRun,
        r#"select r.dag_id as "dag_id: DagId", r.run_id as "run_id: RunId", r.state as "state: RunState",
                  r.start_date, r.end_date
           from unnest($1::text[]) as d(dag_id)
           cross join lateral (
               select * from dag_run where dag_run.dag_id = d.dag_id order by run_after desc, run_key desc limit $2
           ) r"#,
        dags,
        each
    )
    .fetch_all(conn)
    .await
}
