//! `dag_run`: what a task may know of its run, and of the last one before it that ended well.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ids::{DagId, RunId, RunKey},
    state::RunType,
};

/// When a run was, for which time, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunDates {
    /// The run.
    pub run_id: RunId,
    /// Why there is one.
    pub run_type: RunType,
    /// The instant that it is about; none if it was made without one.
    pub logical_date: Option<DateTime<Utc>>,
    /// Before which it does not start.
    pub run_after: DateTime<Utc>,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
    /// The beginning of the time that it is about.
    pub data_interval_start: Option<DateTime<Utc>>,
    /// The end of it.
    pub data_interval_end: Option<DateTime<Utc>>,
}

/// Those of a run.
///
/// # Errors
/// The database is down.
pub async fn of(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Option<RunDates>> {
    sqlx::query_as!(
        RunDates,
        r#"select run_id as "run_id: RunId", run_type as "run_type: RunType", logical_date, run_after, start_date,
                  end_date, data_interval_start, data_interval_end
           from dag_run where run_key = $1"#,
        run.0
    )
    .fetch_optional(conn)
    .await
}

/// Those of any run; none if it is not there (any more).
///
/// # Errors
/// The database is down.
pub async fn by_id(conn: &mut PgConnection, dag: &DagId, run: &RunId) -> sqlx::Result<Option<RunDates>> {
    sqlx::query_as!(
        RunDates,
        r#"select run_id as "run_id: RunId", run_type as "run_type: RunType", logical_date, run_after, start_date,
                  end_date, data_interval_start, data_interval_end
           from dag_run where dag_id = $1 and run_id = $2"#,
        dag.as_str(),
        run.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// Those of the last run of the DAG, by logical date, that was before this one and succeeded: Airflow's
/// `get_previous_successful_dagrun`.
///
/// # Errors
/// The database is down.
pub async fn of_previous_success(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Option<RunDates>> {
    sqlx::query_as!(
        RunDates,
        r#"select p.run_id as "run_id: RunId", p.run_type as "run_type: RunType", p.logical_date, p.run_after,
                  p.start_date, p.end_date, p.data_interval_start, p.data_interval_end
           from dag_run r join dag_run p on p.dag_id = r.dag_id and p.logical_date < r.logical_date
           where r.run_key = $1 and p.state = 'success'
           order by p.logical_date desc limit 1"#,
        run.0
    )
    .fetch_optional(conn)
    .await
}
