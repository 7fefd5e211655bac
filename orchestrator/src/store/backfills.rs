//! `backfill`, and the runs that belong to one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use super::run_locks::LockedRun;
use crate::{
    ids::{BackfillId, DagId, RunId, RunKey, VersionId},
    state::RunState,
};

/// What becomes of runs that are there already: Airflow's `reprocess_behavior`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Reprocess {
    /// They stay as they are.
    #[default]
    None,
    /// Those that failed run again.
    Failed,
    /// Those that ended run again, however they ended.
    Completed,
}

/// A backfill.
#[derive(Clone, Debug)]
pub struct BackfillRow {
    /// Its key.
    pub backfill_id: BackfillId,
    /// Its DAG.
    pub dag_id: DagId,
    /// The first date.
    pub from_date: DateTime<Utc>,
    /// The last date.
    pub to_date: DateTime<Utc>,
    /// The conf of its runs.
    pub conf: Value,
    /// What becomes of runs that are there already.
    pub reprocess_behavior: Reprocess,
    /// How many of its runs may be running at once.
    pub max_active_runs: i32,
    /// Whether no more of its runs start.
    pub is_paused: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// When its last run had ended, or it was cancelled.
    pub completed_at: Option<DateTime<Utc>>,
}

/// What is to be made.
#[derive(Clone, Debug)]
pub struct NewBackfill<'a> {
    /// Its DAG.
    pub dag_id: &'a DagId,
    /// The first date.
    pub from_date: DateTime<Utc>,
    /// The last date.
    pub to_date: DateTime<Utc>,
    /// The conf of its runs.
    pub conf: &'a Value,
    /// What becomes of runs that are there already.
    pub reprocess: Reprocess,
    /// How many of its runs may be running at once.
    pub max_active_runs: i32,
}

/// Makes a backfill; none if the DAG has one that is not completed.
///
/// # Errors
/// The database is down.
pub async fn insert_if_alone(conn: &mut PgConnection, new: &NewBackfill<'_>) -> sqlx::Result<Option<BackfillId>> {
    sqlx::query_scalar!(
        r#"insert into backfill (dag_id, from_date, to_date, conf, reprocess_behavior, max_active_runs)
           values ($1, $2, $3, $4, $5, $6) on conflict (dag_id) where completed_at is null do nothing
           returning backfill_id as "backfill_id: BackfillId""#,
        new.dag_id.as_str(),
        new.from_date,
        new.to_date,
        new.conf,
        new.reprocess as Reprocess,
        new.max_active_runs
    )
    .fetch_optional(conn)
    .await
}

/// Every backfill, of a DAG or that one, the latest first.
///
/// # Errors
/// The database is down.
pub async fn list(
    conn: &mut PgConnection,
    dag: Option<&DagId>,
    backfill: Option<BackfillId>,
) -> sqlx::Result<Vec<BackfillRow>> {
    sqlx::query_as!(
        BackfillRow,
        r#"select backfill_id as "backfill_id: BackfillId", dag_id as "dag_id: DagId", from_date, to_date, conf,
                  reprocess_behavior as "reprocess_behavior: Reprocess", max_active_runs, is_paused, created_at,
                  updated_at, completed_at
           from backfill
           where ($1::text is null or dag_id = $1) and ($2::bigint is null or backfill_id = $2)
           order by backfill_id desc"#,
        dag.map(DagId::as_str),
        backfill.map(|backfill| backfill.0)
    )
    .fetch_all(conn)
    .await
}

/// Pauses or goes on; false if it is completed or not there.
///
/// # Errors
/// The database is down.
pub async fn set_paused(conn: &mut PgConnection, backfill: BackfillId, paused: bool) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update backfill set is_paused = $2, updated_at = now() where backfill_id = $1 and completed_at is null",
        backfill.0,
        paused
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a backfill; false if it is completed or not there.
///
/// # Errors
/// The database is down.
pub async fn complete(conn: &mut PgConnection, backfill: BackfillId) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update backfill set completed_at = now(), updated_at = now() where backfill_id = $1 and completed_at is null",
        backfill.0
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Completes the backfills of which no run is left to end; says how many.
///
/// # Errors
/// The database is down.
pub async fn complete_ended(conn: &mut PgConnection) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update backfill b set completed_at = now(), updated_at = now()
         where completed_at is null
           and not exists (select from dag_run r where r.backfill_id = b.backfill_id
                           and r.backfill_id is not null and r.state in ('queued', 'running'))"
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A run that is there already.
#[derive(Clone, Debug)]
pub struct ExistingRun {
    /// The run.
    pub run_key: RunKey,
    /// Its id.
    pub run_id: RunId,
    /// The date that it stands for.
    pub logical_date: DateTime<Utc>,
    /// Its state.
    pub state: RunState,
}

/// The runs of a DAG between two dates.
///
/// # Errors
/// The database is down.
pub async fn existing(
    conn: &mut PgConnection,
    dag: &DagId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<ExistingRun>> {
    sqlx::query_as!(
        ExistingRun,
        r#"select run_key as "run_key: RunKey", run_id as "run_id: RunId", logical_date as "logical_date!",
                  state as "state: RunState"
           from dag_run where dag_id = $1 and logical_date between $2 and $3"#,
        dag.as_str(),
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// Locks runs, in the order in which everybody does, and says how they stand now.
///
/// # Errors
/// The database is down.
pub async fn lock_runs(conn: &mut PgConnection, runs: &[RunKey]) -> sqlx::Result<Vec<(RunKey, RunState)>> {
    let runs: Vec<_> = runs.iter().map(|run| run.0).collect();
    let rows = sqlx::query!(
        r#"select run_key as "run_key: RunKey", state as "state: RunState" from dag_run
           where run_key = any($1) order by run_key for no key update"#,
        &runs
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.run_key, row.state)).collect())
}

/// Makes a run part of a backfill, with its conf if that has one. Hold its lock, or have just made it.
///
/// # Errors
/// The database is down.
pub async fn take_over(
    conn: &mut PgConnection,
    run: RunKey,
    backfill: BackfillId,
    ordinal: i32,
    conf: Option<&Value>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update dag_run set backfill_id = $2, backfill_ordinal = $3, run_type = 'backfill', conf = coalesce($4, conf)
         where run_key = $1",
        run.0,
        backfill.0,
        ordinal,
        conf
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks all runs of a backfill that have not started, in the order in which everybody does.
///
/// # Errors
/// The database is down.
pub async fn lock_all_queued(conn: &mut PgConnection, backfill: BackfillId) -> sqlx::Result<Vec<RunKey>> {
    sqlx::query_scalar!(
        r#"select run_key as "run_key: RunKey" from dag_run
           where backfill_id = $1 and backfill_id is not null and state = 'queued' order by run_key
           for no key update"#,
        backfill.0
    )
    .fetch_all(conn)
    .await
}

/// Takes the queued runs of a DAG's backfill that may start, in its order, and locks them. Lock the DAG first.
///
/// # Errors
/// The database is down.
pub async fn lock_queued(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Vec<LockedRun>> {
    sqlx::query_as!(
        LockedRun,
        r#"with active as materialized (
               select b.backfill_id, b.max_active_runs - (
                   select count(*) from dag_run r where r.backfill_id = b.backfill_id and r.backfill_id is not null
                                                    and r.state = 'running') as room
               from backfill b where b.dag_id = $1 and b.completed_at is null and not b.is_paused
           ), next as materialized (
               select n.run_key from active a cross join lateral (
                   select r.run_key from dag_run r
                   where r.backfill_id = a.backfill_id and r.backfill_id is not null and r.state = 'queued'
                   order by r.backfill_ordinal limit greatest(0, a.room)) n
           )
           select run_key as "run_key: RunKey", version_id as "version: VersionId", state as "state: RunState",
                  now() as "now!"
           from dag_run where run_key in (select run_key from next) and state = 'queued'
           order by run_key for no key update skip locked"#,
        dag.as_str()
    )
    .fetch_all(conn)
    .await
}

/// How many runs of a backfill there are in a state.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The backfill.
    pub backfill_id: BackfillId,
    /// The state.
    pub state: RunState,
    /// How many.
    pub runs: i64,
}

/// How far these backfills are.
///
/// # Errors
/// The database is down.
pub async fn progress(conn: &mut PgConnection, backfills: &[BackfillId]) -> sqlx::Result<Vec<Progress>> {
    let keys: Vec<_> = backfills.iter().map(|backfill| backfill.0).collect();
    sqlx::query_as!(
        Progress,
        r#"select backfill_id as "backfill_id!: BackfillId", state as "state: RunState", count(*) as "runs!"
           from dag_run where backfill_id is not null and backfill_id = any($1) group by 1, 2 order by 1, 2"#,
        &keys
    )
    .fetch_all(conn)
    .await
}
