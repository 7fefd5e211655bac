//! Lists of runs, and one run.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Listed, Page};
use crate::{
    ids::{DagId, RunId, RunKey, VersionId},
    state::{RunState, RunType},
};

/// A run, with everything that is told about it.
#[derive(Clone, Debug)]
pub struct RunListed {
    /// The database's key.
    pub run_key: RunKey,
    /// Its DAG.
    pub dag_id: DagId,
    /// Its id.
    pub run_id: RunId,
    /// The version that it runs under.
    pub version: VersionId,
    /// The number of that version.
    pub version_number: i32,
    /// When that version was stored.
    pub version_created_at: DateTime<Utc>,
    /// Why it exists.
    pub run_type: RunType,
    /// Where it is.
    pub state: RunState,
    /// The date that it stands for.
    pub logical_date: Option<DateTime<Utc>>,
    /// The beginning of its data interval.
    pub data_interval_start: Option<DateTime<Utc>>,
    /// The end of its data interval.
    pub data_interval_end: Option<DateTime<Utc>>,
    /// Not before this instant.
    pub run_after: DateTime<Utc>,
    /// What it was triggered with.
    pub conf: Value,
    /// A remark.
    pub note: Option<String>,
    /// Who made it.
    pub triggered_by: String,
    /// When it was queued.
    pub queued_at: DateTime<Utc>,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
    /// How many runs the whole list has.
    pub total: i64,
}

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this DAG.
    pub dag_id: Option<DagId>,
    /// Only this one.
    pub run_id: Option<RunId>,
    /// Only in these states; all if empty.
    pub states: Vec<RunState>,
    /// Only of these types; all if empty.
    pub types: Vec<RunType>,
    /// By what, and from which end.
    pub order: RunOrder,
}

/// The order of a list of runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RunOrder {
    /// By the database's key: in the order of their making. Airflow's default.
    #[default]
    Made,
    /// By `run_after`, the latest first.
    Latest,
    /// By `run_after`, the earliest first.
    Earliest,
}

/// Runs.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &RunFilter, page: Page) -> sqlx::Result<Listed<RunListed>> {
    let order = match filter.order {
        RunOrder::Made => "made",
        RunOrder::Latest => "latest",
        RunOrder::Earliest => "earliest",
    };
    let rows = sqlx::query_as!(
        RunListed,
        r#"select r.run_key as "run_key: RunKey", r.dag_id as "dag_id: DagId", r.run_id as "run_id: RunId",
                  r.version_id as "version: VersionId", v.number as version_number, v.created_at as version_created_at,
                  r.run_type as "run_type: RunType", r.state as "state: RunState", r.logical_date,
                  r.data_interval_start, r.data_interval_end, r.run_after, r.conf, r.note, r.triggered_by,
                  r.queued_at, r.start_date, r.end_date, count(*) over () as "total!"
           from dag_run r join dag_version v using (version_id)
           where ($1::text is null or r.dag_id = $1)
             and ($2::text is null or r.run_id = $2)
             and (cardinality($3::run_state[]) = 0 or r.state = any($3))
             and (cardinality($4::run_type[]) = 0 or r.run_type = any($4))
           order by case $5 when 'latest' then r.run_after end desc, case $5 when 'earliest' then r.run_after end,
                    case $5 when 'latest' then r.run_key end desc, r.run_key
           limit $6 offset $7"#,
        filter.dag_id.as_ref().map(DagId::as_str),
        filter.run_id.as_ref().map(RunId::as_str),
        &filter.states as &[RunState],
        &filter.types as &[RunType],
        order,
        page.limit,
        page.offset
    )
    .fetch_all(conn)
    .await?;
    Ok(Listed { total: rows.first().map_or(0, |row| row.total), rows })
}

/// One run.
///
/// # Errors
/// The database is down.
pub async fn get(conn: &mut PgConnection, dag: &DagId, run: &RunId) -> sqlx::Result<Option<RunListed>> {
    let filter = RunFilter { dag_id: Some(dag.clone()), run_id: Some(run.clone()), ..RunFilter::default() };
    Ok(list(conn, &filter, Page { limit: 1, offset: 0 }).await?.rows.pop())
}
