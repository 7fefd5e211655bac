//! How the runs of a DAG went, day by day.

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::{ids::DagId, state::RunState};

/// Runs of a day (UTC) that are in the same state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfDay {
    /// The day of the instant from which they may run.
    pub day: NaiveDate,
    /// Where they are.
    pub state: RunState,
    /// How many there are.
    pub runs: i64,
}

/// The days from one to before another that have runs, in order.
///
/// # Errors
/// The database is down.
pub async fn days(conn: &mut PgConnection, dag: &DagId, from: NaiveDate, to: NaiveDate) -> sqlx::Result<Vec<OfDay>> {
    sqlx::query_as!(
        OfDay,
        r#"select (run_after at time zone 'utc')::date as "day!", state as "state: RunState", count(*) as "runs!"
           from dag_run
           where dag_id = $1 and run_after >= $2::date at time zone 'utc' and run_after < $3::date at time zone 'utc'
           group by 1, 2 order by 1, 2"#,
        dag.as_str(),
        from,
        to
    )
    .fetch_all(conn)
    .await
}
