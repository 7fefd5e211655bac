//! `task_instance`: tries that failed and wait for the next one.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::RunKey;

/// The running runs with retries whose delay is over, the longest due first.
///
/// # Errors
/// The database is down.
pub async fn runs_with_due(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<RunKey>> {
    sqlx::query_scalar!(
        r#"select t.run_key as "run_key: RunKey" from task_instance t join dag_run r using (run_key)
           where t.state = 'up_for_retry' and t.due_at <= $1 and r.state = 'running'
           group by t.run_key order by min(t.due_at) limit $2"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Takes the due retries of a run back to waiting, to be decided anew. Hold the run's lock.
///
/// # Errors
/// The database is down.
pub async fn wait_again_if_due(conn: &mut PgConnection, run: RunKey, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update task_instance set state = 'none', due_at = null, end_date = null, start_date = null
         where run_key = $1 and state = 'up_for_retry' and due_at <= $2",
        run.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
