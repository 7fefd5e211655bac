//! What the author of a DAG file holds in hand: the DAG and the handles of its tasks.

use std::{cell::RefCell, marker::PhantomData, panic::Location, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    body::{Body, InputFrom, InputTask, IntoTask},
    chain::{Chain, Link},
    check::{self, Fault},
    graph::Graph,
    group::{self, End},
    mapping::{OverInput, OverKind},
    params::{Params, ParamsType},
    registry::{Callbacks, Definition, Written},
    spec::{GroupIndex, GroupSpec, Over, TaskSpec},
    task::Task,
};
use crate::{
    ids::{DagId, Node, TaskId},
    notify::{Deadline, Event, Notifier},
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
    written: Written,
    draft: RefCell<Draft>,
}

#[derive(Default)]
struct Draft {
    tasks: Vec<(TaskSpec, Body)>,
    groups: Vec<GroupSpec>,
    edges: Vec<(End, End)>,
    /// What each task takes.
    inputs: Vec<(usize, InputFrom)>,
    /// Who is told of what, of a task or of a run.
    callbacks: Vec<Callback>,
    faults: Vec<Fault>,
}

impl Dag {
    /// A DAG without schedule, with Airflow's defaults.
    #[must_use]
    #[track_caller]
    pub fn new(dag_id: &str) -> Self {
        Self {
            settings: Graph::new(DagId::from(dag_id)),
            defaults: TaskSpec::default(),
            written: Written { file: Location::caller().file(), source: None },
            draft: RefCell::default(),
        }
    }

    /// The text of the file in which it is written, for people to read: `.source(include_str!("orders.rs"))`. Another
    /// text is no other version.
    #[must_use]
    pub fn source(mut self, text: &'static str) -> Self {
        self.written.source = Some(text);
        self
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

    /// Starts each scheduled run later than its slot, by a part of this that is the same for the same slot, so that DAGs of
    /// one schedule do not all begin at once. Its logical date is the slot.
    #[must_use]
    pub fn jitter(mut self, at_most: Duration) -> Self {
        self.settings.jitter = Some(at_most);
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

    /// How many instances a mapped task or group may have; 1,024 by default, as in Airflow. A task that returns a longer
    /// list for others to be mapped over has failed.
    #[must_use]
    pub fn max_map_length(mut self, length: usize) -> Self {
        self.settings.max_map_length = length;
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

    /// What may be said about a run when it is triggered, and what holds otherwise. Whoever triggers says it in the run's
    /// conf, and is refused if that does not fit the type; tasks read it with
    /// [`Context::params`](crate::context::Context::params).
    ///
    /// ```
    /// use orchestrator::prelude::*;
    /// use schemars::JsonSchema;
    /// use serde::{Deserialize, Serialize};
    ///
    /// /// The doc comments become the descriptions in the form.
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Settings {
    ///     /// The region to load.
    ///     region: String,
    ///     #[schemars(range(min = 1, max = 90))]
    ///     days: u32,
    /// }
    ///
    /// async fn load(context: Context) -> TaskResult<String> {
    ///     let Settings { region, days } = context.params()?;
    ///     Ok(format!("{days} days of {region}"))
    /// }
    ///
    /// let dag = Dag::new("load").params(Settings { region: "eu".to_owned(), days: 7 });
    /// dag.task("load", load);
    /// # dag.build().unwrap();
    /// ```
    #[must_use]
    pub fn params<P: ParamsType>(mut self, defaults: P) -> Self {
        match Params::of(&defaults) {
            Some(params) => self.settings.params = Some(params),
            None => self.draft.get_mut().faults.push(Fault::NoParams(self.settings.dag_id.clone())),
        }
        self
    }

    /// Tells somebody when a run has succeeded; an `async fn(Notice) -> anyhow::Result<()>` will do.
    #[must_use]
    pub fn on_success(self, notifier: impl Notifier + 'static) -> Self {
        self.tell(Event::RunSuccess, notifier)
    }

    /// Tells somebody when a run has failed.
    #[must_use]
    pub fn on_failure(self, notifier: impl Notifier + 'static) -> Self {
        self.tell(Event::RunFailure, notifier)
    }

    /// Tells somebody when a run has not ended in time, whether or not it ever ends. A DAG may have several deadlines.
    #[must_use]
    pub fn deadline(mut self, deadline: Deadline, notifier: impl Notifier + 'static) -> Self {
        let ordinal = self.settings.deadlines.len() as i32;
        self.settings.deadlines.push(deadline);
        let notifier = Arc::new(notifier);
        self.draft.get_mut().callbacks.push(Callback { task: None, event: Event::DeadlineMissed, ordinal, notifier });
        self
    }

    fn tell(mut self, event: Event, notifier: impl Notifier + 'static) -> Self {
        self.settings.callbacks.push(event);
        let notifier = Arc::new(notifier);
        self.draft.get_mut().callbacks.push(Callback { task: None, event, ordinal: 0, notifier });
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
        self.add_task(task_id, None, body)
    }

    pub(super) fn add_task<M, B: IntoTask<M>>(
        &self,
        task_id: &str,
        group: Option<GroupIndex>,
        body: B,
    ) -> Task<'_, B::Output> {
        let parts = body.into_parts();
        let node = self.draft.borrow().tasks.len();
        let over = parts.over.and_then(|over| self.over(over, End::Task(node)));
        let mut draft = self.draft.borrow_mut();
        for input in parts.inputs {
            draft.take(self, input, node);
        }
        let task_id = TaskId::from(task_id);
        let dag = &self.settings.dag_id;
        let bad_templates = parts.bad_templates.into_iter();
        draft.faults.extend(bad_templates.map(|why| Fault::BadTemplate {
            dag: dag.clone(),
            task: task_id.clone(),
            why,
        }));
        let spec = TaskSpec { task_id, operator: parts.operator, over, group, ..self.defaults.clone() };
        draft.tasks.push((spec, parts.body));
        Task { dag: self, node, collected: false, output: PhantomData }
    }

    pub(super) fn add_group(&self, spec: GroupSpec) -> GroupIndex {
        let mut draft = self.draft.borrow_mut();
        draft.groups.push(spec);
        GroupIndex(draft.groups.len() - 1)
    }

    pub(super) fn map_group(&self, group: GroupIndex, over: OverInput) {
        let over = self.over(over, End::Group(group));
        self.draft.borrow_mut().groups[group.0].over = over;
    }

    /// What `mapped` is mapped over; a task whose result it is comes before it.
    fn over(&self, over: OverInput, mapped: End) -> Option<Over> {
        let mut draft = self.draft.borrow_mut();
        let dag = self.settings.dag_id.clone();
        match over.0 {
            OverKind::Values(Ok(values)) => Some(Over::Values(values)),
            OverKind::Values(Err(why)) => {
                draft.faults.push(Fault::Unwritable { dag, why });
                None
            }
            OverKind::Result(input) => match input.from {
                InputFrom::Result { node, .. } if input.dag == self.token() => {
                    draft.edges.push((End::Task(node), mapped));
                    Some(Over::Result(Node(node as i32)))
                }
                InputFrom::Result { task_id, .. } => {
                    draft.faults.push(Fault::ForeignTask { dag, task: task_id });
                    None
                }
                InputFrom::Item(_) => None,
            },
        }
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
        let Draft { tasks, groups, edges, inputs, callbacks: told, mut faults } = self.draft.into_inner();
        let (specs, bodies): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        let bodies = specs.iter().map(|spec| spec.task_id.clone()).zip(bodies).collect();
        let mut callbacks = Callbacks::new();
        for Callback { task, event, ordinal, notifier } in told {
            let task = task.map(|task| specs[task].task_id.clone());
            callbacks.entry((task, event, ordinal)).or_default().push(notifier);
        }
        let edges = group::resolve(&specs, &groups, edges);
        let edges = edges.into_iter().map(|(from, to)| (Node(from as i32), Node(to as i32))).collect();
        let graph = self.settings.with_tasks(specs, edges, groups);
        faults.extend(check::faults(&graph));
        faults.extend(check::input_faults(&graph, &inputs));
        if faults.is_empty() { Ok(Definition::new(graph, bodies, callbacks, self.written)) } else { Err(faults) }
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

    pub(super) fn tell_of(&self, node: usize, event: Event, notifier: Arc<dyn Notifier>) {
        let mut draft = self.draft.borrow_mut();
        draft.callbacks.push(Callback { task: Some(node), event, ordinal: 0, notifier });
        // Twice for two who are told: another one makes another version, which an older binary must not tell.
        draft.tasks[node].0.callbacks.push(event);
    }

    pub(super) fn name_of(&self, end: End) -> TaskId {
        let draft = self.draft.borrow();
        match end {
            End::Task(node) => draft.tasks[node].0.task_id.clone(),
            End::Group(group) => draft.groups[group.0].group_id.clone(),
        }
    }
}

/// Who is told of what: of a task or of a run, and of deadlines of which one.
struct Callback {
    task: Option<usize>,
    event: Event,
    ordinal: i32,
    notifier: Arc<dyn Notifier>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.tasks.iter().map(|(spec, _)| spec)).finish()
    }
}

impl Draft {
    fn take(&mut self, dag: &Dag, input: InputTask, node: usize) {
        match (&input.from, input.dag == dag.token()) {
            (InputFrom::Result { node: from, .. }, true) => self.edges.push((End::Task(*from), End::Task(node))),
            (InputFrom::Item(_), true) => {}
            (InputFrom::Result { task_id, .. }, false) => {
                self.faults.push(Fault::ForeignTask { dag: dag.settings.dag_id.clone(), task: task_id.clone() });
                return;
            }
            (InputFrom::Item(_), false) => {
                self.faults.push(Fault::ForeignItem { dag: dag.settings.dag_id.clone() });
                return;
            }
        }
        self.inputs.push((node, input.from));
    }
}
