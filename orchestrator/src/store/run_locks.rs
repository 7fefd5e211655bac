//! `dag_run`: the lock of a run, under which alone its tasks and its state are decided.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};

use crate::{
    ids::{DagId, RunKey, VersionId},
    state::RunState,
};

/// A run that is held until the transaction ends.
#[derive(Clone, Copy, Debug)]
pub struct LockedRun {
    /// The run.
    pub run_key: RunKey,
    /// The version that it runs under.
    pub version: VersionId,
    /// Its state.
    pub state: RunState,
    /// The database's time.
    pub now: DateTime<Utc>,
}

/// Locks those of the runs that nobody else holds. A statement of its own, before any statement that reads: one that
/// waits for a lock goes on with its old snapshot.
///
/// # Errors
/// The database is down.
pub async fn lock_idle(conn: &mut PgConnection, runs: &[i64]) -> sqlx::Result<Vec<LockedRun>> {
    sqlx::query_as!(
        LockedRun,
        r#"select run_key as "run_key: RunKey", version_id as "version: VersionId", state as "state: RunState",
                  now() as "now!"
           from dag_run where run_key = any($1) order by run_key for no key update skip locked"#,
        runs
    )
    .fetch_all(conn)
    .await
}

/// Begins a transaction that holds the run, in one round trip, waiting for whoever holds it. Whoever may be dropped while
/// it waits must not give the connection back to a pool: the transaction begins all the same.
///
/// # Errors
/// The database is down.
pub async fn begin_holding(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Transaction<'_, Postgres>> {
    // A number cannot carry anything else into the statement.
    let statement = format!("begin; select from dag_run where run_key = {} for no key update", run.0);
    conn.begin_with(AssertSqlSafe(statement)).await
}

/// Locks the run, waiting for whoever holds it. Of several, that with the lowest key first: so no two wait for each other.
///
/// # Errors
/// The database is down.
pub async fn lock_waiting(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Option<LockedRun>> {
    sqlx::query_as!(
        LockedRun,
        r#"select run_key as "run_key: RunKey", version_id as "version: VersionId", state as "state: RunState",
                  now() as "now!"
           from dag_run where run_key = $1 for no key update"#,
        run.0
    )
    .fetch_optional(conn)
    .await
}

/// How long [`lock_soon`] waits.
const SOON: &str = "100ms";

/// Locks the run, but does not wait long for whoever holds it: others are due, too. None if it is held longer, or gone; then
/// the transaction can do nothing more.
///
/// # Errors
/// The database is down.
pub async fn lock_soon(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Option<LockedRun>> {
    sqlx::query!("select set_config('lock_timeout', $1, true) as \"set!\"", SOON).fetch_one(&mut *conn).await?;
    let locked = match lock_waiting(conn, run).await {
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == LOCK_NOT_AVAILABLE) => {
            return Ok(None);
        }
        locked => locked?,
    };
    sqlx::query("set local lock_timeout to default").execute(conn).await?;
    Ok(locked)
}

/// Postgres's `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Takes the queued runs of the DAG that may start, oldest first, those of backfills that go on left out, and locks them. Lock the DAG
/// first.
///
/// # Errors
/// The database is down.
pub async fn lock_queued(
    conn: &mut PgConnection,
    dag: &DagId,
    max_active_runs: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<LockedRun>> {
    sqlx::query_as!(
        LockedRun,
        r#"select run_key as "run_key: RunKey", version_id as "version: VersionId", state as "state: RunState",
                  now() as "now!"
           from dag_run
           where dag_id = $1 and state in ('queued', 'running') and state = 'queued' and run_after <= $3
             and not exists (select from backfill b where b.backfill_id = dag_run.backfill_id and b.completed_at is null)
           order by run_after, run_key
           limit greatest(0, $2 - (select count(*) from dag_run where dag_id = $1 and state in ('queued', 'running')
                                                                  and state = 'running' and not exists (
               select from backfill b where b.backfill_id = dag_run.backfill_id and b.completed_at is null)))
           for no key update skip locked"#,
        dag.as_str(),
        max_active_runs,
        now
    )
    .fetch_all(conn)
    .await
}

/// Locks a run that is to be deleted; running, too, while a worker still stops one of its tasks. None if it is gone.
///
/// # Errors
/// The database is down.
pub async fn lock_to_delete(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Option<RunState>> {
    sqlx::query_scalar!(
        r#"select case when active > 0 then 'running' else state end as "state!: RunState"
           from dag_run where run_key = $1 for update"#,
        run.0
    )
    .fetch_optional(conn)
    .await
}
