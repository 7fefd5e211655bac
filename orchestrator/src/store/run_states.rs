//! `dag_run`: how a run starts and ends.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ids::{Node, RunKey},
    state::RunState,
};

/// Starts a run that is queued; hold its lock.
///
/// # Errors
/// The database is down.
pub async fn start_if_queued(
    conn: &mut PgConnection,
    run: RunKey,
    now: DateTime<Utc>,
    timeout: Option<Duration>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        // The history of one that has none yet is of this day, however long it stood in line: the partitions of the day on
        // which it was made may be gone.
        "update dag_run set state = 'running', start_date = $2, timeout_at = $2::timestamptz + make_interval(secs => $3),
                            run_day = case when run_day < ($2 at time zone 'utc')::date
                                                and not exists (select from task_instance t
                                                                where t.run_key = dag_run.run_key and t.try_number > 0)
                                                and not exists (select from xcom x where x.run_key = dag_run.run_key
                                                                and x.run_day = dag_run.run_day)
                                           then ($2 at time zone 'utc')::date else run_day end
         where run_key = $1 and state = 'queued'",
        run.0,
        now,
        timeout.map(|timeout| timeout.as_secs_f64())
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends those of the runs that have no unfinished task instance: as they were marked, else a failed leaf makes a failed run
/// (Airflow's verdict). Hold their locks.
///
/// # Errors
/// The database is down.
pub async fn finish(
    conn: &mut PgConnection,
    runs: &[RunKey],
    leaves: &[(RunKey, Node)],
) -> sqlx::Result<Vec<(RunKey, RunState)>> {
    let runs: Vec<_> = runs.iter().map(|run| run.0).collect();
    let (leaf_runs, nodes): (Vec<_>, Vec<_>) = leaves.iter().map(|(run, node)| (run.0, node.0)).unzip();
    let ended = sqlx::query!(
        r#"with failed as (
               -- Each leaf by itself: a plan of a young database would read all task instances.
               select distinct l.run_key
               from unnest($2::bigint[], $3::int[]) as l(run_key, node) cross join lateral (
                   select from task_instance t
                   where t.run_key = l.run_key and t.node = l.node and t.state in ('failed', 'upstream_failed') limit 1) t
           )
           update dag_run r
           set state = coalesce(r.marked_as, case when r.run_key in (select run_key from failed)
                                                   then 'failed'::run_state else 'success' end),
               marked_as = null,
               end_date = statement_timestamp()
           where r.run_key = any($1) and r.state = 'running' and r.unfinished = 0
           returning r.run_key as "run_key: RunKey", r.state as "state: RunState""#,
        &runs,
        &leaf_runs,
        &nodes
    )
    .fetch_all(conn)
    .await?;
    Ok(ended.into_iter().map(|row| (row.run_key, row.state)).collect())
}

/// Ends a run, however its tasks stand; hold its lock. One that has ended already gets the new state.
///
/// # Errors
/// The database is down.
pub async fn end(conn: &mut PgConnection, run: RunKey, state: RunState) -> sqlx::Result<()> {
    sqlx::query!(
        "update dag_run set state = $2, start_date = coalesce(start_date, statement_timestamp()), end_date = statement_timestamp(),
                            marked_as = null
         where run_key = $1 and state <> $2",
        run.0,
        state as RunState
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How a run is to end when what still runs has ended, whatever its leaves say; none: they say it. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn mark_as(conn: &mut PgConnection, run: RunKey, state: Option<RunState>) -> sqlx::Result<()> {
    sqlx::query!(
        "update dag_run set marked_as = $2 where run_key = $1 and marked_as is distinct from $2",
        run.0,
        state as Option<RunState>
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The running runs whose time is over.
///
/// # Errors
/// The database is down.
pub async fn timed_out(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<RunKey>> {
    sqlx::query_scalar!(
        r#"select run_key as "run_key: RunKey" from dag_run
           where state = 'running' and timeout_at is not null and timeout_at <= $1 order by timeout_at limit $2"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Whether a run is running and its time is over; hold its lock.
///
/// # Errors
/// The database is down.
pub async fn timed_out_now(conn: &mut PgConnection, run: RunKey, now: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from dag_run where run_key = $1 and state = 'running' and timeout_at <= $2) as "yes!""#,
        run.0,
        now
    )
    .fetch_one(conn)
    .await
}

/// Puts a finished run back to queued, so that its cleared tasks run again. Airflow's `reset_dag_runs`.
///
/// # Errors
/// The database is down.
pub async fn requeue_if_finished(conn: &mut PgConnection, run: RunKey, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update dag_run
         set state = 'queued', queued_at = $2, start_date = null, end_date = null, clear_number = clear_number + 1,
             timeout_at = null, marked_as = null
         where run_key = $1 and state in ('success', 'failed')",
        run.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
