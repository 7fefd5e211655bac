//! A DAG as data: what is stored as a version, hashed, and read back by the engine.

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    ids::{DagId, Node, TaskId},
    readiness::TriggerRule,
    retry::RetryPolicy,
    schedule::{Schedule, Window},
};

/// A DAG without its bodies. Immutable once built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Graph {
    pub(crate) dag_id: DagId,
    pub(super) description: Option<String>,
    pub(super) schedule: Schedule,
    pub(super) window: Window,
    pub(super) max_active_runs: u32,
    pub(super) tags: Vec<String>,
    pub(super) owner: String,
    pub(super) is_paused_upon_creation: bool,
    tasks: Vec<TaskSpec>,
    edges: Vec<(Node, Node)>,
    #[serde(skip)]
    neighbours: Neighbours,
}

/// What the graph says of one task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Its name.
    pub task_id: TaskId,
    /// The name of its operator, or `function`.
    pub operator: String,
    /// When failed tries are repeated.
    pub retry: RetryPolicy,
    /// How long a try may take.
    pub execution_timeout: Option<Duration>,
    /// When it runs, given how its upstream tasks ended.
    pub trigger_rule: TriggerRule,
    /// Tasks of a higher weight are claimed first.
    pub priority_weight: i32,
    /// Which workers take it.
    pub queue: String,
}

impl Default for TaskSpec {
    fn default() -> Self {
        Self {
            task_id: TaskId::from(""),
            operator: "function".to_owned(),
            retry: RetryPolicy::default(),
            execution_timeout: None,
            trigger_rule: TriggerRule::default(),
            priority_weight: 1,
            queue: "default".to_owned(),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Neighbours {
    upstream: Vec<Vec<Node>>,
    downstream: Vec<Vec<Node>>,
}

/// Airflow's default for `max_active_runs`.
const MAX_ACTIVE_RUNS: u32 = 16;

impl Graph {
    pub(super) fn new(dag_id: DagId) -> Self {
        Self {
            dag_id,
            description: None,
            schedule: Schedule::None,
            window: Window::default(),
            max_active_runs: MAX_ACTIVE_RUNS,
            tags: Vec::new(),
            owner: "airflow".to_owned(),
            is_paused_upon_creation: true,
            tasks: Vec::new(),
            edges: Vec::new(),
            neighbours: Neighbours::default(),
        }
    }

    pub(super) fn with_tasks(self, tasks: Vec<TaskSpec>, edges: Vec<(Node, Node)>) -> Self {
        Self { tasks, edges, ..self }.linked()
    }

    /// Reads a graph that was stored as a version.
    ///
    /// # Errors
    /// The stored JSON is not a graph of ours.
    pub fn from_json(json: serde_json::Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value::<Self>(json).map(Self::linked)
    }

    /// The same graph has the same hash in every build, so that a redeploy makes no new version.
    #[must_use]
    pub fn hash(&self) -> String {
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        format!("{:x}", Sha256::digest(canonical))
    }

    /// Its id.
    #[must_use]
    pub fn dag_id(&self) -> &DagId {
        &self.dag_id
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// When it runs.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Start, end and catchup.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// How many runs may be running at once.
    #[must_use]
    pub fn max_active_runs(&self) -> u32 {
        self.max_active_runs
    }

    /// Words to find it by.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Who looks after it.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether it starts paused when it is seen for the first time.
    #[must_use]
    pub fn is_paused_upon_creation(&self) -> bool {
        self.is_paused_upon_creation
    }

    /// Its tasks; a [`Node`] is a position in here.
    #[must_use]
    pub fn tasks(&self) -> &[TaskSpec] {
        &self.tasks
    }

    /// Every edge, from upstream to downstream.
    #[must_use]
    pub fn edges(&self) -> &[(Node, Node)] {
        &self.edges
    }

    /// The task at `node`, if the graph has one there.
    #[must_use]
    pub fn task(&self, node: Node) -> Option<&TaskSpec> {
        self.tasks.get(usize::try_from(node.0).ok()?)
    }

    /// Where the task of that name is.
    #[must_use]
    pub fn node(&self, task_id: &TaskId) -> Option<Node> {
        self.tasks.iter().position(|task| task.task_id == *task_id).map(|position| Node(position as i32))
    }

    /// The tasks directly after `node`.
    #[must_use]
    pub fn downstream(&self, node: Node) -> &[Node] {
        neighbours(&self.neighbours.downstream, node)
    }

    /// The tasks directly before `node`.
    #[must_use]
    pub fn upstream(&self, node: Node) -> &[Node] {
        neighbours(&self.neighbours.upstream, node)
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.tasks.len() as i32).map(Node)
    }

    /// The tasks that nothing comes after; they decide how a run ended.
    #[must_use]
    pub fn leaves(&self) -> Vec<Node> {
        self.nodes().filter(|node| self.downstream(*node).is_empty()).collect()
    }

    /// `start` and all that can be reached from it, following `step`.
    pub(crate) fn reachable<'g>(&'g self, start: &[Node], step: impl Fn(&'g Self, Node) -> &'g [Node]) -> Vec<Node> {
        let mut seen: Vec<bool> = vec![false; self.tasks.len()];
        let mut open = start.to_vec();
        while let Some(node) = open.pop() {
            if let Some(seen) = seen.get_mut(node.0 as usize)
                && !*seen
            {
                *seen = true;
                open.extend_from_slice(step(self, node));
            }
        }
        self.nodes().filter(|node| seen[node.0 as usize]).collect()
    }

    /// Positions by name, for many look-ups.
    pub(super) fn positions(&self) -> HashMap<&TaskId, Vec<usize>> {
        let mut positions: HashMap<_, Vec<_>> = HashMap::new();
        for (position, task) in self.tasks.iter().enumerate() {
            positions.entry(&task.task_id).or_default().push(position);
        }
        positions
    }

    fn linked(mut self) -> Self {
        let empty = vec![Vec::new(); self.tasks.len()];
        let mut neighbours = Neighbours { upstream: empty.clone(), downstream: empty };
        for (from, to) in &self.edges {
            neighbours.downstream[from.0 as usize].push(*to);
            neighbours.upstream[to.0 as usize].push(*from);
        }
        self.neighbours = neighbours;
        self
    }
}

fn neighbours(lists: &[Vec<Node>], node: Node) -> &[Node] {
    usize::try_from(node.0).ok().and_then(|index| lists.get(index)).map_or(&[], Vec::as_slice)
}
