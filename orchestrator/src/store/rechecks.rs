//! `recheck`: what happened in a run and matters to others of its DAG; and the questions that it leads to.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ids::{DagId, RunKey, TaskId},
    state::{RunState, TaskState},
};

/// Writes down that something happened in these runs.
///
/// # Errors
/// The database is down.
pub async fn insert(conn: &mut PgConnection, runs: &[RunKey]) -> sqlx::Result<()> {
    let runs: Vec<_> = runs.iter().map(|run| run.0).collect();
    sqlx::query!("insert into recheck (run_key) select unnest($1::bigint[])", &runs).execute(conn).await?;
    Ok(())
}

/// Takes the first that was written down after `after`, with what else was about the same run, and says which it was and of
/// which run; somebody else's is left out.
///
/// # Errors
/// The database is down.
pub async fn take_one(conn: &mut PgConnection, after: i64) -> sqlx::Result<Option<(i64, RunKey)>> {
    let row = sqlx::query!(
        r#"with first as materialized (
               select recheck_id, run_key from recheck where recheck_id > $1 order by recheck_id limit 1
               for update skip locked
           ), same as materialized (
               select recheck_id from recheck where run_key = (select run_key from first) for update skip locked
           ), taken as (
               delete from recheck where recheck_id in (select recheck_id from same)
           )
           select recheck_id, run_key as "run_key: RunKey" from first"#,
        after
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.recheck_id, row.run_key)))
}

/// A run, among the others of its DAG.
#[derive(Clone, Debug)]
pub struct Cause {
    /// Its DAG.
    pub dag_id: DagId,
    /// Its state.
    pub state: RunState,
    /// The date that it stands for.
    pub logical_date: Option<DateTime<Utc>>,
}

/// The run in which something happened, if it is still there.
///
/// # Errors
/// The database is down.
pub async fn cause(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Option<Cause>> {
    sqlx::query_as!(
        Cause,
        r#"select dag_id as "dag_id: DagId", state as "state: RunState", logical_date from dag_run where run_key = $1"#,
        run.0
    )
    .fetch_optional(conn)
    .await
}

/// The next runs of the DAG after that date that have not ended, in the order in which they are to be locked. Those that
/// are queued, too: one may be starting at this moment, and have looked back before what happened.
///
/// # Errors
/// The database is down.
pub async fn next_active(
    conn: &mut PgConnection,
    dag: &DagId,
    after: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<RunKey>> {
    sqlx::query_scalar!(
        r#"with next as materialized (
               select run_key from dag_run
               where dag_id = $1 and logical_date > $2 and state in ('queued', 'running')
               order by logical_date limit $3
           )
           select run_key as "run_key!: RunKey" from next order by run_key"#,
        dag.as_str(),
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// How a task and those after it stand in the run before.
#[derive(Clone, Debug)]
pub struct Before {
    /// The task.
    pub task_id: TaskId,
    /// A state in which its task instances are.
    pub state: TaskState,
}

/// The states of tasks in the run before this one: the previous one that nobody made by hand if the DAG catches up, else
/// the previous one by logical date. Nothing if there is none, or if it is the first of a backfill (`airflow.md` 5.6).
///
/// # Errors
/// The database is down.
pub async fn states_before(
    conn: &mut PgConnection,
    run: RunKey,
    without_manual: bool,
    tasks: &[String],
) -> sqlx::Result<Vec<Before>> {
    sqlx::query_as!(
        Before,
        r#"select distinct t.task_id as "task_id: TaskId", t.state as "state: TaskState"
           from dag_run r
           cross join lateral (
               select p.run_key from dag_run p
               where p.dag_id = r.dag_id and p.logical_date < r.logical_date
                 and (not $2 or p.run_type <> 'manual')
               order by p.logical_date desc limit 1
           ) p
           join task_instance t on t.run_key = p.run_key and t.task_id = any($3)
           where r.run_key = $1
             and (r.backfill_id is null
                  or exists (select from dag_run b
                             where b.backfill_id = r.backfill_id and b.logical_date < r.logical_date))"#,
        run.0,
        without_manual,
        tasks
    )
    .fetch_all(conn)
    .await
}

/// The states of the instances of a task in the run of that logical date.
///
/// # Errors
/// The database is down.
pub async fn states_at(
    conn: &mut PgConnection,
    dag: &DagId,
    task: &TaskId,
    date: DateTime<Utc>,
) -> sqlx::Result<Vec<TaskState>> {
    sqlx::query_scalar!(
        r#"select distinct t.state as "state: TaskState"
           from dag_run r join task_instance t using (run_key)
           where r.dag_id = $1 and r.logical_date = $2 and t.task_id = $3"#,
        dag.as_str(),
        date,
        task.as_str()
    )
    .fetch_all(conn)
    .await
}

/// The states of the last runs of the DAG that have ended, the latest first.
///
/// # Errors
/// The database is down.
pub async fn last_ended(conn: &mut PgConnection, dag: &DagId, runs: i64) -> sqlx::Result<Vec<RunState>> {
    sqlx::query_scalar!(
        r#"select state as "state: RunState" from dag_run
           where dag_id = $1 and state in ('success', 'failed') order by run_after desc, run_key desc limit $2"#,
        dag.as_str(),
        runs
    )
    .fetch_all(conn)
    .await
}
