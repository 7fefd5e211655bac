//! What the author of a DAG file holds in hand: the DAG and the handles of its tasks.

use std::{cell::RefCell, marker::PhantomData, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    body::{IntoTask, Parts},
    chain::{Chain, Link},
    check::{self, Fault},
    graph::Graph,
    registry::Definition,
    spec::TaskSpec,
    task::Task,
};
use crate::{
    ids::{DagId, Node, TaskId},
    schedule::Schedule,
};

/// A DAG while it is written. Settings of the DAG come first, then tasks, then the edges between them; whatever is
/// wrong is told all at once by [`Dag::build`], so that a DAG file has no error handling.
///
/// ```
/// use orchestrator::prelude::*;
///
/// async fn extract(_: Context) -> TaskResult<Vec<u32>> {
///     Ok(vec![1, 2, 3])
/// }
///
/// async fn load(_: Context, rows: Vec<u32>) -> TaskResult<usize> {
///     Ok(rows.len())
/// }
///
/// pub fn dag() -> Dag {
///     let dag = Dag::new("orders").schedule(Schedule::cron("@daily")).retries(2);
///     let rows = dag.task("extract", extract);
///     let loaded = dag.task("load", load.with(rows)).retries(5);
///     let check = dag.task("check", async |_: Context| TaskResult::Ok(()));
///     dag.chain(loaded >> check);
///     dag
/// }
/// # assert_eq!(dag().build().unwrap().graph().tasks().len(), 3);
/// ```
#[derive(Debug)]
pub struct Dag {
    settings: Graph,
    defaults: TaskSpec,
    draft: RefCell<Draft>,
}

#[derive(Debug, Default)]
struct Draft {
    tasks: Vec<(TaskSpec, Parts)>,
    edges: Vec<(usize, usize)>,
    faults: Vec<Fault>,
}

impl Dag {
    /// A DAG without schedule, with Airflow's defaults.
    #[must_use]
    pub fn new(dag_id: &str) -> Self {
        Self { settings: Graph::new(DagId::from(dag_id)), defaults: TaskSpec::default(), draft: RefCell::default() }
    }

    /// What the DAG is for, in a sentence.
    #[must_use]
    pub fn description(mut self, description: &str) -> Self {
        self.settings.description = Some(description.to_owned());
        self
    }

    /// When it runs.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.settings.schedule = schedule;
        self
    }

    /// No run for a slot before this instant. With it, the latest slot that has passed is due at once.
    #[must_use]
    pub fn start_date(mut self, start: DateTime<Utc>) -> Self {
        self.settings.window.start = Some(start);
        self
    }

    /// No run for a slot after this instant.
    #[must_use]
    pub fn end_date(mut self, end: DateTime<Utc>) -> Self {
        self.settings.window.end = Some(end);
        self
    }

    /// Whether slots that were missed are made up for. Off by default, as in Airflow 3.
    #[must_use]
    pub fn catchup(mut self, catchup: bool) -> Self {
        self.settings.window.catchup = catchup;
        self
    }

    /// How many runs may be running at once; 16 by default.
    #[must_use]
    pub fn max_active_runs(mut self, runs: u32) -> Self {
        self.settings.max_active_runs = runs;
        self
    }

    /// How many tasks of one run may be queued or running at once; 16 by default, as in Airflow.
    #[must_use]
    pub fn max_active_tasks(mut self, tasks: u32) -> Self {
        self.settings.max_active_tasks = i32::try_from(tasks).unwrap_or(i32::MAX);
        self
    }

    /// How long a run may take from its start; after that it has failed, and what has not ended is skipped.
    #[must_use]
    pub fn dagrun_timeout(mut self, timeout: Duration) -> Self {
        self.settings.dagrun_timeout = Some(timeout);
        self
    }

    /// When a task has failed for good, the run's other tasks are stopped or skipped, but for the teardowns.
    #[must_use]
    pub fn fail_fast(mut self) -> Self {
        self.settings.fail_fast = true;
        self
    }

    /// Pauses the DAG when so many of its runs in a row have failed.
    #[must_use]
    pub fn max_consecutive_failed_dag_runs(mut self, runs: u32) -> Self {
        self.settings.max_consecutive_failed_dag_runs = Some(runs);
        self
    }

    /// A word to find it by.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.settings.tags.push(tag.to_owned());
        self
    }

    /// Who looks after it; `airflow` users see it in the list of DAGs.
    #[must_use]
    pub fn owner(mut self, owner: &str) -> Self {
        self.settings.owner = owner.to_owned();
        self
    }

    /// Whether it starts paused when it is seen for the first time. It does by default, as in Airflow.
    #[must_use]
    pub fn is_paused_upon_creation(mut self, paused: bool) -> Self {
        self.settings.is_paused_upon_creation = paused;
        self
    }

    /// Default of its tasks: tries after the first.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.defaults.retry.retries = retries;
        self
    }

    /// Default of its tasks: the delay before the second try; five minutes if nothing is said.
    #[must_use]
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.defaults.retry.delay = delay;
        self
    }

    /// Default of its tasks: what the delay is multiplied with from try to try.
    #[must_use]
    pub fn retry_exponential_backoff(mut self, multiplier: f64) -> Self {
        self.defaults.retry.backoff = Some(multiplier);
        self
    }

    /// Default of its tasks: how long a try may take.
    #[must_use]
    pub fn execution_timeout(mut self, timeout: Duration) -> Self {
        self.defaults.execution_timeout = Some(timeout);
        self
    }

    /// Adds a task: an `async fn` that takes a [`Context`](crate::context::Context), such a function `.with` the
    /// results of other tasks, or an operator. The handle stands for what the task returns.
    pub fn task<M, B: IntoTask<M>>(&self, task_id: &str, body: B) -> Task<'_, B::Output> {
        let parts = body.into_parts();
        let mut draft = self.draft.borrow_mut();
        let node = draft.tasks.len();
        for input in &parts.inputs {
            match input.dag == self.token() {
                true => draft.edges.push((input.node, node)),
                false => draft
                    .faults
                    .push(Fault::ForeignTask { dag: self.settings.dag_id.clone(), task: input.task_id.clone() }),
            }
        }
        let spec =
            TaskSpec { task_id: TaskId::from(task_id), operator: parts.operator.clone(), ..self.defaults.clone() };
        draft.tasks.push((spec, parts));
        Task { dag: self, node, output: PhantomData }
    }

    /// Records a chain of tasks, each after the one before: `dag.chain(a >> [b, c] >> d)`.
    pub fn chain(&self, chain: Chain<'_>) {
        let mut draft = self.draft.borrow_mut();
        for task in chain.foreign_to(self) {
            draft.faults.push(Fault::ForeignTask { dag: self.settings.dag_id.clone(), task });
        }
        draft.edges.extend(chain.edges_in(self));
    }

    /// Puts every task of `downstream` after every task of `upstream`.
    pub fn cross<'a>(&'a self, upstream: impl Link<'a>, downstream: impl Link<'a>) {
        self.chain(Chain::cross(upstream, downstream));
    }

    /// Checks the whole DAG and makes it fit to run.
    ///
    /// # Errors
    /// Every fault that it has, each with the names it is about.
    pub fn build(self) -> Result<Definition, Vec<Fault>> {
        let Draft { tasks, mut edges, mut faults } = self.draft.into_inner();
        edges.sort_unstable();
        edges.dedup();
        let (specs, parts): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        let bodies = specs.iter().zip(parts).map(|(spec, parts)| (spec.task_id.clone(), parts.body)).collect();
        let edges = edges.into_iter().map(|(from, to)| (Node(from as i32), Node(to as i32))).collect();
        let graph = self.settings.with_tasks(specs, edges);
        faults.extend(check::faults(&graph));
        if faults.is_empty() { Ok(Definition::new(graph, bodies)) } else { Err(faults) }
    }

    /// The id that it was made with.
    #[must_use]
    pub fn dag_id(&self) -> &DagId {
        &self.settings.dag_id
    }

    /// What tells this DAG's handles from another's: its draft does not move while handles borrow it.
    pub(super) fn token(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(super) fn set(&self, node: usize, change: impl FnOnce(&mut TaskSpec)) {
        change(&mut self.draft.borrow_mut().tasks[node].0);
    }

    pub(super) fn task_id(&self, node: usize) -> TaskId {
        self.draft.borrow().tasks[node].0.task_id.clone()
    }
}
