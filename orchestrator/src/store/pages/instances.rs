//! Lists of task instances, one of them, its tries, and the cells of a grid.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Listed, Page};
use crate::{
    ids::{DagId, InstanceKey, Node, RunId, RunKey, TaskId, VersionId},
    state::TaskState,
};

/// A task instance, with everything that is told about it.
#[derive(Clone, Debug)]
pub struct InstanceListed {
    /// The database's key.
    pub instance: InstanceKey,
    /// Its run.
    pub run_key: RunKey,
    /// Its DAG.
    pub dag_id: DagId,
    /// The id of its run.
    pub run_id: RunId,
    /// The version that the run is under.
    pub version: VersionId,
    /// Its node in that version's graph.
    pub node: Node,
    /// Its task.
    pub task_id: TaskId,
    /// Its index in a mapped task.
    pub map_index: i32,
    /// Where it is.
    pub state: TaskState,
    /// The number of its latest try.
    pub try_number: i32,
    /// The last try that may be retried.
    pub max_tries: i32,
    /// Its worker queue.
    pub queue: String,
    /// Its priority weight.
    pub priority: i32,
    /// When its next try is due.
    pub due_at: Option<DateTime<Utc>>,
    /// When it became claimable.
    pub queued_at: Option<DateTime<Utc>>,
    /// When the latest try started.
    pub start_date: Option<DateTime<Utc>>,
    /// When the latest try ended.
    pub end_date: Option<DateTime<Utc>>,
    /// The host that runs it.
    pub hostname: Option<String>,
    /// The process that runs it.
    pub pid: Option<i32>,
    /// The date that the run stands for.
    pub logical_date: Option<DateTime<Utc>>,
    /// Not before this instant.
    pub run_after: DateTime<Utc>,
    /// How many the whole list has.
    pub total: i64,
}

/// Which task instances.
#[derive(Clone, Debug, Default)]
pub struct InstanceFilter {
    /// Only of this DAG.
    pub dag_id: Option<DagId>,
    /// Only of this run.
    pub run_id: Option<RunId>,
    /// Only of this task.
    pub task_id: Option<TaskId>,
    /// Only of this map index; -1: only unmapped ones.
    pub map_index: Option<i32>,
    /// Only in these states; all if empty.
    pub states: Vec<TaskState>,
}

/// Task instances, in the order of their making.
///
/// # Errors
/// The database is down.
pub async fn list(
    conn: &mut PgConnection,
    filter: &InstanceFilter,
    page: Page,
) -> sqlx::Result<Listed<InstanceListed>> {
    let rows = sqlx::query_as!(
        InstanceListed,
        r#"select t.instance_key as "instance: InstanceKey", t.run_key as "run_key: RunKey",
                  t.dag_id as "dag_id: DagId", r.run_id as "run_id: RunId", r.version_id as "version: VersionId",
                  t.node as "node: Node", t.task_id as "task_id: TaskId", t.map_index,
                  t.state as "state: TaskState", t.try_number, t.max_tries, t.queue, t.priority, t.due_at, t.queued_at,
                  t.start_date, t.end_date, p.hostname as "hostname?", p.pid as "pid?", r.logical_date, r.run_after,
                  count(*) over () as "total!"
           from task_instance t join dag_run r using (run_key) left join process p on p.process_id = t.worker_id
           where ($1::text is null or r.dag_id = $1)
             and ($2::text is null or r.run_id = $2)
             and ($3::text is null or t.task_id = $3)
             and (cardinality($4::task_state[]) = 0 or t.state = any($4))
             and ($5::int is null or t.map_index = $5)
           order by t.run_key, t.node, t.map_index
           limit $6 offset $7"#,
        filter.dag_id.as_ref().map(DagId::as_str),
        filter.run_id.as_ref().map(RunId::as_str),
        filter.task_id.as_ref().map(TaskId::as_str),
        &filter.states as &[TaskState],
        filter.map_index,
        page.limit,
        page.offset
    )
    .fetch_all(conn)
    .await?;
    Ok(Listed { total: rows.first().map_or(0, |row| row.total), rows })
}

/// One task instance; an unmapped one has the index -1.
///
/// # Errors
/// The database is down.
pub async fn get(
    conn: &mut PgConnection,
    dag: &DagId,
    run: &RunId,
    task: &TaskId,
    map_index: i32,
) -> sqlx::Result<Option<InstanceListed>> {
    let filter = InstanceFilter {
        map_index: Some(map_index),
        dag_id: Some(dag.clone()),
        run_id: Some(run.clone()),
        task_id: Some(task.clone()),
        states: Vec::new(),
    };
    Ok(list(conn, &filter, Page { limit: 1, offset: 0 }).await?.rows.pop())
}

/// A try that has ended.
#[derive(Clone, Debug)]
pub struct TryListed {
    /// Its number; a try that was handed back or restarted appears once for each attempt.
    pub try_number: i32,
    /// How it ended.
    pub state: TaskState,
    /// When it started.
    pub start_date: DateTime<Utc>,
    /// When it ended.
    pub end_date: DateTime<Utc>,
    /// Why it did not succeed.
    pub cause: Option<String>,
    /// The host that ran it.
    pub hostname: Option<String>,
}

/// The ended tries of a task instance.
///
/// # Errors
/// The database is down.
pub async fn tries(conn: &mut PgConnection, instance: InstanceKey) -> sqlx::Result<Vec<TryListed>> {
    sqlx::query_as!(
        TryListed,
        r#"select y.try_number, y.state as "state: TaskState", y.start_date, y.end_date, y.cause,
                  p.hostname as "hostname?"
           from task_try y left join process p on p.process_id = y.worker_id
           where y.instance_key = $1 order by y.try_number, y.end_date"#,
        instance.0
    )
    .fetch_all(conn)
    .await
}

/// A cell of a grid: a task in a run, with all of its instances if it is mapped.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The run: the column.
    pub run_key: RunKey,
    /// The task: the row.
    pub task_id: TaskId,
    /// Its colour: the most telling of the states of its instances.
    pub state: TaskState,
    /// How many instances it has.
    pub instances: i64,
}

/// The cells of these runs.
///
/// # Errors
/// The database is down.
pub async fn cells(conn: &mut PgConnection, runs: &[RunKey]) -> sqlx::Result<Vec<Cell>> {
    let runs: Vec<_> = runs.iter().map(|run| run.0).collect();
    sqlx::query_as!(
        Cell,
        r#"select distinct on (run_key, node) run_key as "run_key: RunKey", task_id as "task_id: TaskId",
                  state as "state: TaskState", count(*) over (partition by run_key, node) as "instances!"
           from task_instance where run_key = any($1)
           order by run_key, node, array_position($2::task_state[], state)"#,
        &runs,
        &TaskState::MOST_TELLING as &[TaskState]
    )
    .fetch_all(conn)
    .await
}
