//! What people ask for: trigger, clear, pause. One function each, used by the API, the pages and the CLI alike.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::{
    dag::Graph,
    engine::{Graphs, Trigger, create_run, move_on},
    ids::{DagId, InstanceKey, Node, RunId, RunKey, TaskId},
    state::{RunState, RunType, TaskState},
    store::{self, dags, events, instances::Clearable, nodes, runs, xcom},
};

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such DAG.
    #[error("The Dag with ID: `{0}` was not found")]
    NoDag(DagId),
    /// There is no such run.
    #[error("The DagRun with dag_id: `{0}` and run_id: `{1}` was not found")]
    NoRun(DagId, RunId),
    /// The DAG has no such task.
    #[error("The Task with ID: `{1}` was not found in the Dag `{0}`")]
    NoTask(DagId, TaskId),
    /// The DAG has a run of that id or logical date.
    #[error("the dag {dag_id} already has a run with the id {run_id} or the logical date {logical_date:?}")]
    RunExists {
        /// The DAG.
        dag_id: DagId,
        /// The id that was asked for.
        run_id: RunId,
        /// The logical date that was asked for.
        logical_date: Option<DateTime<Utc>>,
    },
    /// The request contradicts itself.
    #[error("{0}")]
    Invalid(String),
    /// The database, or what it holds, failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A run that somebody asks for.
#[derive(Clone, Debug, Default)]
pub struct ManualRun {
    /// Its id; made from the instant if none is given.
    pub run_id: Option<RunId>,
    /// The date that it stands for, if any.
    pub logical_date: Option<DateTime<Utc>>,
    /// Not before this instant.
    pub run_after: Option<DateTime<Utc>>,
    /// For its tasks to read: a JSON object.
    pub conf: Option<Value>,
    /// A remark.
    pub note: Option<String>,
}

/// Who asks, in Airflow's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The command line.
    Cli,
    /// The API.
    RestApi,
    /// A page.
    Ui,
    /// A test.
    Test,
}

impl Origin {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::RestApi => "rest_api",
            Self::Ui => "ui",
            Self::Test => "test",
        }
    }
}

/// Makes a manual run. It starts when its time has come, the DAG is not paused and `max_active_runs` has room.
///
/// # Errors
/// [`Refused`].
pub async fn trigger(
    conn: &mut PgConnection,
    graphs: &Graphs,
    dag: &DagId,
    run: ManualRun,
    origin: Origin,
) -> Result<RunId, Refused> {
    let conf = run.conf.unwrap_or_else(|| json!({}));
    if !conf.is_object() {
        return Err(Refused::Invalid(format!("conf must be a JSON object, not {conf}")));
    }
    let mut tx = conn.begin().await?;
    let now = store::now(&mut tx).await?;
    let version = dags::current_version(&mut tx, dag).await?.ok_or_else(|| Refused::NoDag(dag.clone()))?;
    let run_id = run.run_id.unwrap_or_else(|| manual_run_id(now));
    if !is_valid_run_id(&run_id) {
        return Err(Refused::Invalid(format!("{:?} cannot be a run id", run_id.as_str())));
    }
    let trigger = Trigger {
        dag_id: dag.clone(),
        run_id: run_id.clone(),
        run_type: RunType::Manual,
        logical_date: run.logical_date,
        run_after: run.run_after.unwrap_or(now),
        conf,
        note: run.note,
        triggered_by: origin.as_str(),
    };
    if create_run(&mut tx, graphs, version, &trigger, now).await?.is_none() {
        return Err(Refused::RunExists { dag_id: dag.clone(), run_id, logical_date: run.logical_date });
    }
    let extra = json!({ "conf": trigger.conf, "logical_date": trigger.logical_date });
    write_down(&mut tx, "trigger_dag_run", dag, Some(&run_id), origin, extra).await?;
    tx.commit().await?;
    Ok(run_id)
}

/// Airflow's form: `manual__<instant>`.
fn manual_run_id(now: DateTime<Utc>) -> RunId {
    RunId::from(format!("manual__{}", now.to_rfc3339_opts(SecondsFormat::Micros, false)))
}

/// Airflow's default pattern for run ids (`[core] allowed_run_id_pattern`), which its own ids must pass too.
fn is_valid_run_id(run: &RunId) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '~' | ':' | '+' | '-');
    !run.as_str().is_empty() && run.as_str().len() <= 250 && run.as_str().chars().all(allowed)
}

/// Stops or resumes the schedule of a DAG and the start of its queued runs.
///
/// # Errors
/// [`Refused`].
pub async fn set_paused(
    conn: &mut PgConnection,
    graphs: &Graphs,
    dag: &DagId,
    paused: bool,
    origin: Origin,
) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    if !dags::set_paused(&mut tx, dag, paused).await? {
        return Err(Refused::NoDag(dag.clone()));
    }
    if let Some(row) = dags::lock(&mut tx, dag).await?.filter(|_| !paused) {
        let graph = graphs.get(&mut tx, row.current_version_id).await?;
        let now = store::now(&mut tx).await?;
        let timetable = graph.schedule().parse().map_err(anyhow::Error::from)?;
        let next = timetable.upcoming(graph.window(), row.last_slot, None, now);
        dags::set_slots(&mut tx, dag, row.last_slot, next).await?;
    }
    write_down(&mut tx, if paused { "pause_dag" } else { "unpause_dag" }, dag, None, origin, json!({})).await?;
    tx.commit().await?;
    Ok(())
}

/// Which task instances of a run to clear. Airflow's `clearTaskInstances`.
#[derive(Clone, Debug)]
pub struct Clear {
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// The tasks; none means all.
    pub tasks: Vec<TaskId>,
    /// What else, and what not.
    pub scope: ClearScope,
}

/// How far a clear reaches.
#[derive(Clone, Copy, Debug)]
pub struct ClearScope {
    /// Also everything that the tasks come after.
    pub upstream: bool,
    /// Also everything that comes after the tasks.
    pub downstream: bool,
    /// Only what failed, itself or by its upstream.
    pub only_failed: bool,
    /// Only what is running.
    pub only_running: bool,
    /// Whether a run that has ended is started again.
    pub reset_dag_runs: bool,
}

/// What a clear would do, without doing it: its `dry_run`.
///
/// # Errors
/// [`Refused`].
pub async fn preview_clear(conn: &mut PgConnection, graphs: &Graphs, clear: &Clear) -> Result<Vec<Clearable>, Refused> {
    let mut tx = conn.begin().await?;
    let (_, _, chosen) = choose(&mut tx, graphs, clear).await?;
    tx.rollback().await?;
    Ok(chosen)
}

/// Takes task instances of a run back to the beginning: what is running is stopped and tried again, a run that has
/// ended is queued anew. Returns what was cleared.
///
/// # Errors
/// [`Refused`].
pub async fn clear(
    conn: &mut PgConnection,
    graphs: &Graphs,
    clear: &Clear,
    origin: Origin,
) -> Result<Vec<Clearable>, Refused> {
    let mut tx = conn.begin().await?;
    let (graph, mut run, chosen) = choose(&mut tx, graphs, clear).await?;
    if !chosen.is_empty() {
        write_clear(&mut tx, &graph, run.run_key, &chosen).await?;
        if clear.scope.reset_dag_runs && runs::requeue_if_finished(&mut tx, run.run_key, run.now).await? {
            run.state = RunState::Queued;
        }
        if run.state == RunState::Running {
            move_on(&mut tx, graphs, run).await?;
        }
    }
    let tasks: Vec<_> = chosen.iter().map(|instance| instance.task_id.as_str()).collect();
    let extra = json!({ "task_ids": tasks });
    write_down(&mut tx, "clear_task_instances", &clear.dag_id, Some(&clear.run_id), origin, extra).await?;
    tx.commit().await?;
    Ok(chosen)
}

type Choice = (std::sync::Arc<Graph>, runs::LockedRun, Vec<Clearable>);

/// Locks the run, then its task instances (a claim may change one without the run's lock), then chooses.
async fn choose(tx: &mut PgConnection, graphs: &Graphs, clear: &Clear) -> Result<Choice, Refused> {
    if clear.scope.only_failed && clear.scope.only_running {
        return Err(Refused::Invalid("only_failed and only_running both are set".to_owned()));
    }
    if dags::current_version(tx, &clear.dag_id).await?.is_none() {
        return Err(Refused::NoDag(clear.dag_id.clone()));
    }
    let no_run = || Refused::NoRun(clear.dag_id.clone(), clear.run_id.clone());
    let key = runs::key(tx, &clear.dag_id, &clear.run_id).await?.ok_or_else(no_run)?;
    let run = runs::lock_waiting(tx, key).await?.ok_or_else(no_run)?;
    let graph = graphs.get(tx, run.version).await?;
    let nodes = chosen_nodes(&graph, clear)?;
    let mut chosen = store::instances::lock_of_run(tx, key).await?;
    chosen.retain(|instance| nodes.contains(&instance.node) && scope_takes(clear.scope, instance.state));
    Ok((graph, run, chosen))
}

fn chosen_nodes(graph: &Graph, clear: &Clear) -> Result<Vec<Node>, Refused> {
    if clear.tasks.is_empty() {
        return Ok(graph.nodes().collect());
    }
    let find = |task: &TaskId| graph.node(task).ok_or_else(|| Refused::NoTask(clear.dag_id.clone(), task.clone()));
    let named = clear.tasks.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let mut nodes = named.clone();
    if clear.scope.upstream {
        nodes.extend(graph.reachable(&named, Graph::upstream));
    }
    if clear.scope.downstream {
        nodes.extend(graph.reachable(&named, Graph::downstream));
    }
    nodes.sort_unstable();
    nodes.dedup();
    Ok(nodes)
}

fn scope_takes(scope: ClearScope, state: TaskState) -> bool {
    (!scope.only_failed || state.is_failure())
        && (!scope.only_running || matches!(state, TaskState::Running | TaskState::Restarting))
}

async fn write_clear(tx: &mut PgConnection, graph: &Graph, run: RunKey, chosen: &[Clearable]) -> Result<(), Refused> {
    let keys: Vec<InstanceKey> = chosen.iter().map(|instance| instance.instance).collect();
    let retries = |instance: &Clearable| graph.task(instance.node).map_or(0, |task| task.retry.retries);
    let retries: Vec<_> = chosen.iter().map(|instance| i32::try_from(retries(instance)).unwrap_or(i32::MAX)).collect();
    let tasks: Vec<_> = chosen.iter().map(|instance| instance.task_id.as_str().to_owned()).collect();
    store::instances::clear(tx, &keys, &retries).await?;
    xcom::delete(tx, run, &tasks).await?;
    nodes::recount(tx, run, graph.edges()).await?;
    Ok(())
}

async fn write_down(
    tx: &mut PgConnection,
    event: &str,
    dag: &DagId,
    run: Option<&RunId>,
    origin: Origin,
    extra: Value,
) -> sqlx::Result<()> {
    // Until there are users, the way by which somebody asked stands for who it was.
    let event = events::Event { event, dag_id: dag, run_id: run, owner: origin.as_str(), extra };
    events::append(tx, &event).await
}
