//! The gates that a task instance passes before a worker may take it: its run, its task over all runs, its pool.

use serde::{Deserialize, Serialize};

use crate::{
    dag::{Graph, TaskSpec},
    ids::DagId,
    state::TaskState,
    store::overrides::Chosen,
};

/// A place where task instances stand in line.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Gate(String);

impl Gate {
    /// The gate of a run: its DAG's `max_active_tasks`.
    #[must_use]
    pub fn run() -> Self {
        Self("run".to_owned())
    }

    /// The gate of a task over all runs: its `max_active_tis_per_dag`, if it has one.
    #[must_use]
    pub fn task(dag: &DagId, task: &TaskSpec) -> Option<Self> {
        task.max_active_tis_per_dag.map(|_| Self(format!("task:{dag}/{}", task.task_id)))
    }

    /// The gate of a pool.
    #[must_use]
    pub fn pool(name: &str) -> Self {
        Self(format!("pool:{name}"))
    }

    /// Whether it is the gate of a pool.
    #[must_use]
    pub fn is_pool(&self) -> bool {
        self.0.starts_with("pool:")
    }

    /// How many gates are left from here on.
    pub(super) fn distance(&self) -> u8 {
        match self {
            gate if gate.is_pool() => 1,
            gate if *gate == Self::run() => 3,
            _ => 2,
        }
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Slots that task instances give back in a transaction, gate by gate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Freed(pub(super) std::collections::BTreeMap<Gate, i32>);

impl Freed {
    /// What a task instance of that task gives back when it ends.
    pub(super) fn add(&mut self, graph: &Graph, task: &TaskSpec) {
        self.add_task(graph, task);
        self.add_pool(task);
    }

    /// What one gives back that has kept the slots of its pool while it was deferred.
    pub(super) fn add_pool(&mut self, task: &TaskSpec) {
        *self.0.entry(Gate::pool(&task.pool)).or_default() += task.pool_slots;
    }

    /// Nothing, at a gate that is to be looked at all the same.
    #[must_use]
    pub fn nothing_at(gate: Gate) -> Self {
        Self([(gate, 0)].into())
    }

    pub(super) fn add_task(&mut self, graph: &Graph, task: &TaskSpec) {
        if let Some(gate) = Gate::task(graph.dag_id(), task) {
            *self.0.entry(gate).or_default() += 1;
        }
    }

    /// What these task instances held when a command took their states away.
    #[must_use]
    pub fn by<'c>(graph: &Graph, taken: impl IntoIterator<Item = &'c Chosen>) -> Self {
        let mut freed = Self::default();
        for instance in taken {
            let Some(task) = graph.task(instance.node) else { continue };
            match (instance.state, &instance.waits_for) {
                (TaskState::Queued | TaskState::Running | TaskState::Restarting, _) => freed.add(graph, task),
                // It kept them while it was deferred.
                (TaskState::Deferred, Some(_)) => freed.add_pool(task),
                // It had passed the gate of its task.
                (TaskState::Scheduled, Some(gate)) if *gate == Gate::pool(&task.pool) => freed.add_task(graph, task),
                _ => {}
            }
        }
        freed
    }

    /// Adds what others give back.
    pub fn merge(&mut self, other: Self) {
        for (gate, slots) in other.0 {
            *self.0.entry(gate).or_default() += slots;
        }
    }
}
