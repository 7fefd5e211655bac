//! Which task instances of which runs a command is about, and their locks.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Refused;
use crate::{
    dag::{Graph, Role},
    engine::{Graphs, redeploy},
    ids::{DagId, Node, RunId, RunKey, TaskId, VersionId},
    state::TaskState,
    store::{
        dags,
        overrides::{self, Chosen},
        rechecks,
        run_locks::{self, LockedRun},
        runs::{self, RunWindow},
    },
};

/// Which task instances a command is about.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The DAG.
    pub dag_id: DagId,
    /// Its runs.
    pub runs: RunChoice,
    /// Their tasks.
    pub tasks: TaskChoice,
}

/// Which runs of a DAG.
#[derive(Clone, Debug)]
pub enum RunChoice {
    /// One run, and if wanted those before and after it by logical date.
    Around {
        /// The run.
        run_id: RunId,
        /// Also every run of an earlier logical date: Airflow's `include_past`.
        past: bool,
        /// Also every run of a later logical date: Airflow's `include_future`.
        future: bool,
    },
    /// The runs whose logical date lies between, both ends included; without either, all runs.
    Between {
        /// The first logical date.
        start: Option<DateTime<Utc>>,
        /// The last one.
        end: Option<DateTime<Utc>>,
    },
}

impl RunChoice {
    /// One run alone.
    #[must_use]
    pub fn one(run_id: RunId) -> Self {
        Self::Around { run_id, past: false, future: false }
    }
}

/// Under which version of its DAG a run goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnVersion {
    /// The one that it is under.
    #[default]
    Own,
    /// The latest one: Airflow's `run_on_latest_version`.
    Latest,
}

/// Under which version the chosen runs are looked at.
#[derive(Clone, Copy)]
pub(super) enum Onto<'a> {
    /// Their own.
    Own,
    /// The latest, if one of the chosen task instances is in such a state.
    Latest(&'a (dyn Fn(TaskState) -> bool + Sync)),
}

impl Onto<'_> {
    fn wants(self, own: &OrUnknown) -> bool {
        match (self, own) {
            (Self::Own, _) => false,
            (Self::Latest(takes), Ok(own)) => own.chosen().any(|instance| takes(instance.state)),
            // A task that is new to the run has not begun.
            (Self::Latest(takes), Err(_)) => takes(TaskState::None),
        }
    }
}

/// Which tasks of a run.
#[derive(Clone, Debug, Default)]
pub struct TaskChoice {
    /// The tasks; none means all.
    pub named: Vec<NamedTask>,
    /// Also everything that they come after, directly or not.
    pub upstream: bool,
    /// Also everything that comes after them, directly or not.
    pub downstream: bool,
}

/// A task, or one instance of a mapped one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedTask {
    /// The task.
    pub task: TaskId,
    /// Its instance of that map index; none: all of them.
    pub map_index: Option<i32>,
}

impl<T: Into<TaskId>> From<T> for NamedTask {
    fn from(task: T) -> Self {
        Self { task: task.into(), map_index: None }
    }
}

/// Runs that one command may touch at once: all of them are locked until it is done.
const RUNS_MAX: i64 = 1_000;

/// A run that the command holds, with the task instances that it is about.
pub(super) struct Held {
    pub(super) run: LockedRun,
    pub(super) graph: Arc<Graph>,
    /// Whether it has just gone over to the latest version: it may have new tasks.
    pub(super) is_moved: bool,
    /// Every task instance of the run.
    pub(super) all: Vec<Chosen>,
    picks: Vec<Pick>,
}

/// The task instances of a node that were chosen: all, or that of one map index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Pick {
    node: Node,
    map_index: Option<i32>,
}

impl Pick {
    fn takes(self, instance: &Chosen) -> bool {
        self.node == instance.node && self.map_index.is_none_or(|index| index == instance.map_index)
    }

    /// What is chosen with it of another node: in a mapped group the same index.
    fn along(self, graph: &Graph, other: Node) -> Self {
        let map_index = self.map_index.filter(|_| other == self.node || graph.share_lanes(self.node, other));
        Self { node: other, map_index }
    }
}

impl Held {
    /// The task instances that were chosen. What has been removed stays so.
    pub(super) fn chosen(&self) -> impl Iterator<Item = &Chosen> {
        let is_chosen = |instance: &&Chosen| self.picks.iter().any(|pick| pick.takes(instance));
        self.all.iter().filter(|instance| instance.state != TaskState::Removed).filter(is_chosen)
    }

    /// Takes the setups that the chosen tasks need, and the teardowns of setups, too: what was torn down must be made
    /// again. Airflow's `get_upstreams_only_setups_and_teardowns`.
    pub(super) fn with_setups(mut self) -> Self {
        let graph = &self.graph;
        let role = |node: Node| graph.task(node).map(|task| task.role).unwrap_or_default();
        let works = self.picks.iter().filter(|pick| role(pick.node) == Role::Work);
        let needed = works.flat_map(|pick| graph.setups(pick.node).iter().map(|setup| pick.along(graph, *setup)));
        let mut setups: Vec<_> = self.picks.iter().copied().filter(|pick| role(pick.node) == Role::Setup).collect();
        setups.extend(needed);
        let after =
            setups.iter().flat_map(|pick| graph.downstream(pick.node).iter().map(|next| pick.along(graph, *next)));
        let teardowns: Vec<_> = after.filter(|pick| role(pick.node).is_teardown()).collect();
        self.picks.extend(setups.into_iter().chain(teardowns));
        self
    }

    /// The task instances that come after the chosen ones, directly or not.
    pub(super) fn after(&self) -> impl Iterator<Item = &Chosen> {
        let reach = |pick: &Pick| {
            let after = self.graph.reachable(&[pick.node], Graph::downstream).into_iter();
            after.map(|next| pick.along(&self.graph, next)).collect::<Vec<_>>()
        };
        let after: Vec<_> = self.picks.iter().flat_map(reach).collect();
        let is_chosen = |instance: &Chosen| self.picks.iter().any(|pick| pick.takes(instance));
        self.all.iter().filter(move |instance| after.iter().any(|pick| pick.takes(instance)) && !is_chosen(instance))
    }
}

/// Writes down that states of this run were changed, for the next one that looks back at it.
pub(super) async fn tell_next_run(tx: &mut PgConnection, changed: &Held) -> sqlx::Result<()> {
    if changed.graph.looks_back() { rechecks::insert(tx, &[changed.run.run_key]).await } else { Ok(()) }
}

/// Locks the runs in the order of their keys, of each run then the task instances: a claim may change one without the
/// run's lock. A run goes over to the latest version only if the command is about something in it.
pub(super) async fn choose(
    tx: &mut PgConnection,
    graphs: &Graphs,
    choice: &Choice,
    onto: Onto<'_>,
) -> Result<Vec<Held>, Refused> {
    let dag_id = &choice.dag_id;
    let latest = dags::current_version(tx, dag_id).await?.ok_or_else(|| Refused::NoDag(dag_id.clone()))?;
    let mut chosen = Vec::new();
    let mut unknown = None;
    for key in runs_of(tx, choice).await? {
        let Some(run) = run_locks::lock_waiting(tx, key).await? else { continue };
        let own = hold(tx, graphs, run, &choice.tasks).await?;
        let goes_over = run.version != latest && onto.wants(&own);
        let held = if goes_over { go_over(tx, graphs, run, latest, &choice.tasks).await? } else { own };
        // Of several runs, those of a version without the task are left alone.
        match held {
            Ok(held) => chosen.push(held),
            Err(task) => unknown = unknown.or(Some(task)),
        }
    }
    match unknown {
        Some(task) if chosen.is_empty() => Err(Refused::NoTask(dag_id.clone(), task)),
        _ => Ok(chosen),
    }
}

/// A run as it is now, or the named task that its version does not have.
type OrUnknown = Result<Held, TaskId>;

async fn hold(
    tx: &mut PgConnection,
    graphs: &Graphs,
    run: LockedRun,
    tasks: &TaskChoice,
) -> Result<OrUnknown, Refused> {
    let graph = graphs.get(tx, run.version).await?;
    let picks = match picks_of(&graph, tasks) {
        Ok(picks) => picks,
        Err(task) => return Ok(Err(task)),
    };
    let all = overrides::lock_of_run(tx, run.run_key).await?;
    Ok(Ok(Held { run, graph, is_moved: false, all, picks }))
}

/// Takes a run to the latest version, unless that has not all of the tasks.
async fn go_over(
    tx: &mut PgConnection,
    graphs: &Graphs,
    run: LockedRun,
    latest: VersionId,
    tasks: &TaskChoice,
) -> Result<OrUnknown, Refused> {
    if let Err(task) = picks_of(&*graphs.get(tx, latest).await?, tasks) {
        return Ok(Err(task));
    }
    if !redeploy(tx, graphs, &run, latest).await? {
        return Err(Refused::NotAtRest(runs::id(tx, run.run_key).await?));
    }
    let moved = hold(tx, graphs, LockedRun { version: latest, ..run }, tasks).await?;
    Ok(moved.map(|held| Held { is_moved: true, ..held }))
}

async fn runs_of(tx: &mut PgConnection, choice: &Choice) -> Result<Vec<RunKey>, Refused> {
    let dag_id = &choice.dag_id;
    let window = match &choice.runs {
        RunChoice::Between { start, end } => RunWindow { start: *start, end: *end },
        RunChoice::Around { run_id, past, future } => {
            let no_run = || Refused::NoRun(dag_id.clone(), run_id.clone());
            let key = runs::key(tx, dag_id, run_id).await?.ok_or_else(no_run)?;
            if !past && !future {
                return Ok(vec![key]);
            }
            let date = runs::logical_date(tx, key).await?.ok_or(Refused::NoLogicalDate)?;
            RunWindow { start: (!past).then_some(date), end: (!future).then_some(date) }
        }
    };
    let found = runs::in_window(tx, dag_id, window, RUNS_MAX + 1).await?;
    if found.len() as i64 > RUNS_MAX {
        return Err(Refused::Invalid(format!(
            "this is about more than {RUNS_MAX} runs of the dag {dag_id}: name a run, or a shorter range of dates"
        )));
    }
    Ok(found)
}

fn picks_of(graph: &Graph, tasks: &TaskChoice) -> Result<Vec<Pick>, TaskId> {
    if tasks.named.is_empty() {
        return Ok(graph.nodes().map(|node| Pick { node, map_index: None }).collect());
    }
    let find = |named: &NamedTask| {
        let node = graph.node(&named.task).ok_or_else(|| named.task.clone());
        node.map(|node| Pick { node, map_index: named.map_index })
    };
    let named = tasks.named.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let mut picks = named.clone();
    for pick in named {
        let mut with = |others: Vec<Node>| picks.extend(others.into_iter().map(|other| pick.along(graph, other)));
        if tasks.upstream {
            with(graph.reachable(&[pick.node], Graph::upstream));
        }
        if tasks.downstream {
            with(graph.reachable(&[pick.node], Graph::downstream));
        }
    }
    picks.sort_unstable();
    picks.dedup();
    Ok(picks)
}
