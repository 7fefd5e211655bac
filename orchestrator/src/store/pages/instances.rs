//! Lists of task instances, one of them, its tries, and the cells of a grid.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{
        self, Column, Selection, Source, Sql,
        cursor::{self, NotTurned, Turn, Turned},
    },
};
use crate::{
    engine::Gate,
    ids::{DagId, InstanceKey, Node, RunId, RunKey, TaskId, VersionId},
    state::TaskState,
};

/// A task instance, with everything that is told about it.
#[derive(Clone, Debug, sqlx::FromRow)]
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
    /// The number of that version.
    pub version_number: i32,
    /// When that version was stored.
    pub version_created_at: DateTime<Utc>,
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
    /// A remark.
    pub note: Option<String>,
    /// Its pool.
    pub pool: String,
    /// The gate that it stands in line for, if it is scheduled.
    pub waits_for: Option<Gate>,
    /// The signal that it waits for, if it is deferred until one.
    pub awaits: Option<String>,
}

/// What task instances are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InstanceColumn {
    /// In the order of their making.
    Key,
    /// Their DAG.
    DagId,
    /// The id of their run.
    RunId,
    /// The order of the runs.
    RunKey,
    /// Their task.
    TaskId,
    /// The place of the task in its graph.
    Node,
    /// Their index in a mapped task; -1: unmapped.
    MapIndex,
    /// The same as text; nothing for those that are not mapped.
    RenderedMapIndex,
    /// Where they are.
    State,
    /// The number of their latest try.
    TryNumber,
    /// Their pool.
    Pool,
    /// Their worker queue.
    Queue,
    /// When the latest try started.
    StartDate,
    /// When the latest try ended.
    EndDate,
    /// How long the latest try took, in seconds.
    Duration,
    /// The date that the run stands for.
    LogicalDate,
    /// Not before this instant.
    RunAfter,
    /// The beginning of the run's data interval.
    DataIntervalStart,
    /// The end of the run's data interval.
    DataIntervalEnd,
    /// The number of the version that the run is under.
    Version,
}

impl Column for InstanceColumn {
    fn sql(self) -> Sql {
        match self {
            Self::Key => Sql::of("t.instance_key", "bigint"),
            Self::DagId => Sql::of("r.dag_id", "text").joined(),
            Self::RunId => Sql::of("r.run_id", "text").joined(),
            Self::RunKey => Sql::of("t.run_key", "bigint"),
            Self::TaskId => Sql::of("t.task_id", "text"),
            Self::Node => Sql::of("t.node", "int"),
            Self::MapIndex => Sql::of("t.map_index", "int"),
            Self::RenderedMapIndex => Sql::maybe("case when t.map_index >= 0 then t.map_index::text end", "text"),
            Self::State => Sql::of("t.state", "task_state"),
            Self::TryNumber => Sql::of("t.try_number", "int"),
            Self::Pool => Sql::of("t.pool", "text"),
            Self::Queue => Sql::of("t.queue", "text"),
            Self::StartDate => Sql::maybe("t.start_date", "timestamptz"),
            Self::EndDate => Sql::maybe("t.end_date", "timestamptz"),
            Self::Duration => Sql::maybe("extract(epoch from t.end_date - t.start_date)", "numeric"),
            Self::LogicalDate => Sql::maybe("r.logical_date", "timestamptz").joined(),
            Self::RunAfter => Sql::of("r.run_after", "timestamptz").joined(),
            Self::DataIntervalStart => Sql::maybe("r.data_interval_start", "timestamptz").joined(),
            Self::DataIntervalEnd => Sql::maybe("r.data_interval_end", "timestamptz").joined(),
            Self::Version => Sql::of("v.number", "int").joined(),
        }
    }
}

/// Which task instances.
pub type InstanceFilter = Selection<InstanceColumn>;

impl InstanceFilter {
    /// Those of a run.
    #[must_use]
    pub fn of_run(dag: &DagId, run: &RunId) -> Self {
        Self::default().only(InstanceColumn::DagId, dag).only(InstanceColumn::RunId, run)
    }

    /// Those of a run whose key is known: an index has them.
    #[must_use]
    pub fn of_key(run: RunKey) -> Self {
        Self::default().only(InstanceColumn::RunKey, run.0)
    }
}

const INSTANCES: Source = Source {
    columns: "t.instance_key as instance, t.run_key, r.dag_id, r.run_id, r.version_id as version,
              v.number as version_number, v.created_at as version_created_at, t.node, t.task_id, t.map_index, t.state,
              t.try_number, t.max_tries, t.queue, t.priority, t.due_at, t.queued_at, t.start_date, t.end_date,
              p.hostname, p.pid, r.logical_date, r.run_after, n.note, t.pool, t.waits_for, t.awaits",
    from: "task_instance t",
    joins: "join dag_run r on r.run_key = t.run_key join dag_version v on v.version_id = r.version_id
            left join process p on p.process_id = t.worker_id
            left join instance_note n on n.run_key = t.run_key and n.instance_key = t.instance_key",
    key: &[Sql::of("t.run_key", "bigint"), Sql::of("t.node", "int"), Sql::of("t.map_index", "int")],
};

/// Task instances; if nothing else is said, run by run, task by task.
///
/// # Errors
/// The database is down.
pub async fn list(
    conn: &mut PgConnection,
    filter: &InstanceFilter,
    page: Page,
) -> sqlx::Result<Listed<InstanceListed>> {
    select::list(conn, INSTANCES, filter, page).await
}

/// A page of them, which goes on from another one; at most `limit`.
///
/// # Errors
/// See [`NotTurned`].
pub async fn turn(
    conn: &mut PgConnection,
    filter: &InstanceFilter,
    turn: Turn,
    limit: i64,
) -> Result<Turned<InstanceListed>, NotTurned> {
    cursor::turn(conn, INSTANCES, filter, turn, limit).await
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
    let filter = InstanceFilter::of_run(dag, run);
    let filter = filter.only(InstanceColumn::TaskId, task).only(InstanceColumn::MapIndex, map_index);
    Ok(select::rows(conn, INSTANCES, &filter, Page { limit: 1, offset: 0 }).await?.pop())
}

/// Writes a remark, or takes it away.
///
/// # Errors
/// The database is down.
pub async fn set_note(conn: &mut PgConnection, of: &InstanceListed, note: Option<&str>) -> sqlx::Result<()> {
    sqlx::query!(
        "merge into instance_note n using (select $1::bigint, $2::bigint, $3::text) as w (run_key, instance_key, note)
         on n.run_key = w.run_key and n.instance_key = w.instance_key
         when matched and w.note is null then delete
         when matched then update set note = w.note
         when not matched and w.note is not null then insert values (w.run_key, w.instance_key, w.note)",
        of.run_key.0,
        of.instance.0,
        note
    )
    .execute(conn)
    .await?;
    Ok(())
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

/// The cells of these nodes in these runs, which must be of one version: another has other nodes.
///
/// # Errors
/// The database is down.
pub async fn cells(conn: &mut PgConnection, runs: &[RunKey], nodes: &[Node]) -> sqlx::Result<Vec<Cell>> {
    let runs: Vec<_> = runs.iter().map(|run| run.0).collect();
    let nodes: Vec<_> = nodes.iter().map(|node| node.0).collect();
    sqlx::query_as!(
        Cell,
        r#"select run_key as "run_key: RunKey", min(task_id) as "task_id!: TaskId", count(*) as "instances!",
                  ($3::task_state[])[min(array_position($3::task_state[], state))] as "state!: TaskState"
           from task_instance where run_key = any($1) and node = any($2) group by run_key, node"#,
        &runs,
        &nodes,
        &TaskState::MOST_TELLING as &[TaskState]
    )
    .fetch_all(conn)
    .await
}
