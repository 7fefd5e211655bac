//! `dag_run`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::outcomes::RunCounts;
use crate::{
    ids::{DagId, Node, RunId, RunKey, VersionId},
    state::{RunState, RunType},
};

/// A run that is to be made.
#[derive(Clone, Debug)]
pub struct NewRun<'a> {
    /// Its DAG.
    pub dag_id: &'a DagId,
    /// Its id, unique in the DAG.
    pub run_id: &'a RunId,
    /// The version of the DAG that it runs under.
    pub version: VersionId,
    /// Why it exists.
    pub run_type: RunType,
    /// The date that it stands for, unique in the DAG.
    pub logical_date: Option<DateTime<Utc>>,
    /// The data that it is about, from and to.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Not before this instant.
    pub run_after: DateTime<Utc>,
    /// What it was triggered with.
    pub conf: &'a Value,
    /// A remark.
    pub note: Option<&'a str>,
    /// Who made it, in Airflow's words (`rest_api`, `ui`, `cli`, `timetable`).
    pub triggered_by: &'a str,
    /// The user who did, if somebody had signed in.
    pub triggering_user: Option<&'a str>,
    /// The instant of its making.
    pub now: DateTime<Utc>,
    /// How many task instances it has.
    pub tasks: i32,
}

/// Makes the run, queued; none if the DAG has a run of that id or logical date already.
///
/// # Errors
/// The database is down.
pub async fn insert_if_new(conn: &mut PgConnection, run: &NewRun<'_>) -> sqlx::Result<Option<RunKey>> {
    sqlx::query_scalar!(
        r#"insert into dag_run (dag_id, run_id, version_id, run_type, logical_date, data_interval_start,
                                data_interval_end, run_after, conf, note, triggered_by, queued_at, run_day, unfinished,
                                triggering_user)
           values ($1, $2, $3, $4, $5, $13, $14, $6, $7, $8, $9, $10, ($10::timestamptz at time zone 'utc')::date, $11,
                   $12)
           on conflict do nothing
           returning run_key as "run_key: RunKey""#,
        run.dag_id.as_str(),
        run.run_id.as_str(),
        run.version.0,
        run.run_type as RunType,
        run.logical_date,
        run.run_after,
        run.conf,
        run.note,
        run.triggered_by,
        run.now,
        run.tasks,
        run.triggering_user,
        run.data_interval.map(|(start, _)| start),
        run.data_interval.map(|(_, end)| end)
    )
    .fetch_optional(conn)
    .await
}

/// The id of a run.
///
/// # Errors
/// The database is down, or there is no such run.
pub async fn id(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<RunId> {
    sqlx::query_scalar!(r#"select run_id as "run_id: RunId" from dag_run where run_key = $1"#, run.0)
        .fetch_one(conn)
        .await
}

/// The database's key of a run; none if the DAG has no such run.
///
/// # Errors
/// The database is down.
pub async fn key(conn: &mut PgConnection, dag: &DagId, run: &RunId) -> sqlx::Result<Option<RunKey>> {
    sqlx::query_scalar!(
        r#"select run_key as "run_key: RunKey" from dag_run where dag_id = $1 and run_id = $2"#,
        dag.as_str(),
        run.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// A range of logical dates, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunWindow {
    /// The first; none: no lower bound.
    pub start: Option<DateTime<Utc>>,
    /// The last; none: no upper bound.
    pub end: Option<DateTime<Utc>>,
}

/// The runs of the DAG whose logical date lies in the window, in the order in which they are to be locked; a window
/// without bounds holds all runs.
///
/// # Errors
/// The database is down.
pub async fn in_window(
    conn: &mut PgConnection,
    dag: &DagId,
    window: RunWindow,
    limit: i64,
) -> sqlx::Result<Vec<RunKey>> {
    sqlx::query_scalar!(
        r#"select run_key as "run_key: RunKey" from dag_run
           where dag_id = $1 and ($2::timestamptz is null or logical_date >= $2)
             and ($3::timestamptz is null or logical_date <= $3)
           order by run_key limit $4"#,
        dag.as_str(),
        window.start,
        window.end,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The date that a run stands for.
///
/// # Errors
/// The database is down.
pub async fn logical_date(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("select logical_date from dag_run where run_key = $1", run.0).fetch_one(conn).await
}

/// The state of the DAG's run of that logical date.
///
/// # Errors
/// The database is down.
pub async fn state_at(conn: &mut PgConnection, dag: &DagId, date: DateTime<Utc>) -> sqlx::Result<Option<RunState>> {
    sqlx::query_scalar!(
        r#"select state as "state: RunState" from dag_run where dag_id = $1 and logical_date = $2"#,
        dag.as_str(),
        date
    )
    .fetch_optional(conn)
    .await
}

/// How many runs of the DAG are queued or running, backfills left out.
///
/// # Errors
/// The database is down.
pub async fn count_active(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "active!" from dag_run
           where dag_id = $1 and state in ('queued', 'running') and run_type <> 'backfill'"#,
        dag.as_str()
    )
    .fetch_one(conn)
    .await
}

/// The runs of the DAG that are running, in the order in which they are to be locked.
///
/// # Errors
/// The database is down.
pub async fn running(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Vec<RunKey>> {
    sqlx::query_scalar!(
        r#"select run_key as "run_key: RunKey" from dag_run
           where dag_id = $1 and state in ('queued', 'running') and state = 'running' order by run_key"#,
        dag.as_str()
    )
    .fetch_all(conn)
    .await
}

/// The DAGs that have a queued run whose time has come and that are not paused.
///
/// # Errors
/// The database is down.
pub async fn dags_with_queued(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Vec<DagId>> {
    sqlx::query_scalar!(
        r#"select distinct r.dag_id as "dag_id: DagId" from dag_run r join dag d using (dag_id)
           where r.state in ('queued', 'running') and r.state = 'queued' and r.run_after <= $1 and not d.is_paused"#,
        now
    )
    .fetch_all(conn)
    .await
}

/// How the task instances of a run stand; hold its lock.
///
/// # Errors
/// The database is down.
pub async fn counts(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<RunCounts> {
    sqlx::query_as!(
        RunCounts,
        r#"select run_key as "run_key: RunKey", state as "state: RunState", unfinished, active, in_line, is_paused
           from dag_run join dag using (dag_id) where run_key = $1"#,
        run.0
    )
    .fetch_one(conn)
    .await
}

/// Deletes a run with its task instances. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<()> {
    sqlx::query!("delete from dag_run where run_key = $1", run.0).execute(conn).await?;
    Ok(())
}

/// Writes a remark on a run.
///
/// # Errors
/// The database is down.
pub async fn set_note(conn: &mut PgConnection, dag: &DagId, run: &RunId, note: Option<&str>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update dag_run set note = $3 where dag_id = $1 and run_id = $2",
        dag.as_str(),
        run.as_str(),
        note
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A version that new runs do not get any more, and that runs under way are under.
#[derive(Clone, Debug)]
pub struct OlderVersion {
    /// The DAG.
    pub dag_id: DagId,
    /// The version.
    pub version: VersionId,
}

/// The versions that running runs are under, and that are not the current one of one of these DAGs.
///
/// # Errors
/// The database is down.
pub async fn older_versions(conn: &mut PgConnection, dags: &[DagId]) -> sqlx::Result<Vec<OlderVersion>> {
    let dags: Vec<_> = dags.iter().map(|dag| dag.as_str().to_owned()).collect();
    sqlx::query_as!(
        OlderVersion,
        r#"select distinct r.dag_id as "dag_id: DagId", r.version_id as "version: VersionId"
           from dag d join dag_run r using (dag_id)
           where r.state in ('queued', 'running') and r.state = 'running'
             and (r.version_id <> d.current_version_id or d.dag_id <> all($1))"#,
        &dags
    )
    .fetch_all(conn)
    .await
}

/// The running runs of a version in which one of these nodes waits.
///
/// # Errors
/// The database is down.
pub async fn waiting_at(
    conn: &mut PgConnection,
    of: &OlderVersion,
    nodes: &[Node],
    limit: i64,
) -> sqlx::Result<Vec<RunKey>> {
    let nodes: Vec<_> = nodes.iter().map(|node| node.0).collect();
    sqlx::query_scalar!(
        r#"select run_key as "run_key: RunKey" from dag_run r
           where dag_id = $1 and version_id = $2 and state in ('queued', 'running') and state = 'running'
             and exists (select from task_instance t where t.run_key = r.run_key and t.node = any($3)
                         and t.state in ('none', 'scheduled', 'queued', 'up_for_retry', 'up_for_reschedule', 'deferred'))
           order by run_key limit $4"#,
        of.dag_id.as_str(),
        of.version.0,
        &nodes,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Some of the running runs of which nothing runs, waits or is due, though they have not ended: others every time, for many
/// may stand still for good reasons.
///
/// # Errors
/// The database is down.
pub async fn standing_still(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<RunKey>> {
    sqlx::query_scalar!(
        r#"select run_key as "run_key: RunKey" from dag_run r
           where state = 'running' and active = 0 and in_line = 0
             and not exists (select from task_instance t where t.run_key = r.run_key
                             and t.state in ('up_for_retry', 'up_for_reschedule', 'deferred'))
           order by random() limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The earliest instant at which something is to happen by the clock alone: a slot of a DAG, a queued run's time, a
/// retry.
///
/// # Errors
/// The database is down.
pub async fn next_due(conn: &mut PgConnection) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "select least(
             (select min(next_run_at) from dag where not is_paused),
             (select min(due_at) from task_instance where state in ('up_for_retry', 'up_for_reschedule', 'deferred')),
             (select min(timeout_at) from dag_run where state = 'running' and timeout_at is not null),
             (select min(due_at) from deadline)
         )"
    )
    .fetch_one(conn)
    .await
}
