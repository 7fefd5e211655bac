//! What needs attention now, what is at work, and what comes next.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    engine::Gate,
    ids::{DagId, RunId, TaskId},
};

/// A run that failed, and where it began.
#[derive(Clone, Debug)]
pub struct FailedRun {
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// When it ended.
    pub end_date: DateTime<Utc>,
    /// The first task that failed.
    pub task_id: Option<TaskId>,
    /// Its index in a mapped task.
    pub map_index: Option<i32>,
    /// Why.
    pub cause: Option<String>,
}

/// The runs that failed since an instant, the latest first.
///
/// # Errors
/// The database is down.
pub async fn failed_runs(conn: &mut PgConnection, since: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<FailedRun>> {
    sqlx::query_as!(
        FailedRun,
        r#"select r.dag_id as "dag_id: DagId", r.run_id as "run_id: RunId", r.end_date as "end_date!",
                  f.task_id as "task_id?: TaskId", f.map_index as "map_index?", y.cause as "cause?"
           from dag_run r
           left join lateral (
               select t.instance_key, t.task_id, t.map_index from task_instance t
               where t.run_key = r.run_key and t.state = 'failed' order by t.end_date limit 1
           ) f on true
           left join lateral (
               select cause from task_try where task_try.instance_key = f.instance_key and run_day = r.run_day
               order by end_date desc limit 1
           ) y on true
           -- Both states: as the index has them.
           where r.state in ('success', 'failed') and r.state = 'failed' and r.end_date > $1
           order by r.end_date desc limit $2"#,
        since,
        limit
    )
    .fetch_all(conn)
    .await
}

/// How many runs failed since an instant.
///
/// # Errors
/// The database is down.
pub async fn count_failed(conn: &mut PgConnection, since: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from dag_run
           where state in ('success', 'failed') and state = 'failed' and end_date > $1"#,
        since
    )
    .fetch_one(conn)
    .await
}

/// A run that is at work.
#[derive(Clone, Debug)]
pub struct RunningRun {
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// Since when.
    pub start_date: DateTime<Utc>,
    /// How many of its tasks have not ended.
    pub unfinished: i32,
}

/// The runs that are at work, the longest first.
///
/// # Errors
/// The database is down.
pub async fn running(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<RunningRun>> {
    sqlx::query_as!(
        RunningRun,
        r#"select dag_id as "dag_id: DagId", run_id as "run_id: RunId", start_date as "start_date!", unfinished
           from dag_run where state = 'running' order by start_date limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Task instances that stand in line at one gate.
#[derive(Clone, Debug)]
pub struct Line {
    /// The gate.
    pub gate: Gate,
    /// How many.
    pub instances: i64,
}

/// The lines at gates, the longest first.
///
/// # Errors
/// The database is down.
pub async fn lines(conn: &mut PgConnection) -> sqlx::Result<Vec<Line>> {
    sqlx::query_as!(
        Line,
        r#"select waits_for as "gate!: Gate", count(*) as "instances!" from (
               select waits_for from task_instance where state = 'scheduled' and waits_for <> 'run'
               union all
               select waits_for from task_instance where state = 'scheduled' and waits_for = 'run'
           ) in_line group by waits_for order by 2 desc limit 10"#
    )
    .fetch_all(conn)
    .await
}

/// Task instances that no worker takes, of one queue.
#[derive(Clone, Debug)]
pub struct Untaken {
    /// The queue.
    pub queue: String,
    /// How many.
    pub instances: i64,
    /// Since when the first of them could be taken.
    pub since: Option<DateTime<Utc>>,
}

/// The queues whose task instances have been waiting for a worker since before an instant.
///
/// # Errors
/// The database is down.
pub async fn untaken(conn: &mut PgConnection, before: DateTime<Utc>) -> sqlx::Result<Vec<Untaken>> {
    sqlx::query_as!(
        Untaken,
        r#"select queue, count(*) as "instances!", min(queued_at) as since from task_instance
           where state = 'queued' and queued_at < $1 group by queue order by queue"#,
        before
    )
    .fetch_all(conn)
    .await
}

/// Runs of a DAG that do not start.
#[derive(Clone, Debug)]
pub struct Unstarted {
    /// The DAG.
    pub dag_id: DagId,
    /// How many.
    pub runs: i64,
    /// Since when the first of them might have started.
    pub since: Option<DateTime<Utc>>,
    /// Whether that is because the DAG is paused; if not, others of its runs hold them up.
    pub is_paused: bool,
}

/// The DAGs whose runs have been waiting for their start since before an instant, those with most of them first.
///
/// # Errors
/// The database is down.
pub async fn unstarted(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Unstarted>> {
    sqlx::query_as!(
        Unstarted,
        r#"select r.dag_id as "dag_id: DagId", count(*) as "runs!", min(greatest(r.queued_at, r.run_after)) as since,
                  d.is_paused
           from dag_run r join dag d using (dag_id)
           where r.state = 'queued' and greatest(r.queued_at, r.run_after) < $1
           group by r.dag_id, d.is_paused order by 2 desc, 1 limit $2"#,
        before,
        limit
    )
    .fetch_all(conn)
    .await
}
