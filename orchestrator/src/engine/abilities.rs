//! What a binary can run: a worker claims nothing else, whatever the database holds.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    dag::Registry,
    ids::{DagId, TaskId},
};

/// The tasks of a binary, and those that it has met and does not have: tasks of an older or newer version of a DAG.
#[derive(Debug)]
pub struct Abilities {
    registry: Arc<Registry>,
    dags: Vec<String>,
    strange: Mutex<BTreeSet<(String, String)>>,
}

impl Abilities {
    /// Those of a binary with these DAGs.
    #[must_use]
    pub fn of(registry: Arc<Registry>) -> Self {
        let dags = registry.dag_ids().iter().map(|dag| dag.as_str().to_owned()).collect();
        Self { registry, dags, strange: Mutex::default() }
    }

    /// The DAGs that it has.
    #[must_use]
    pub fn dags(&self) -> &[String] {
        &self.dags
    }

    /// Whether it has that task.
    #[must_use]
    pub fn can_run(&self, dag: &DagId, task: &TaskId) -> bool {
        self.registry.get(dag).is_some_and(|definition| definition.body(task).is_some())
    }

    /// Remembers a task that it does not have.
    pub(super) fn meet(&self, dag: &DagId, task: &TaskId) {
        let is_new = self.lock().insert((dag.as_str().to_owned(), task.as_str().to_owned()));
        if is_new {
            tracing::info!(%dag, %task, "left to other workers: this binary does not have the task, or cannot read the graph of its run");
        }
    }

    /// The tasks that it has met and does not have: their DAGs and their names.
    #[must_use]
    pub fn strange(&self) -> (Vec<String>, Vec<String>) {
        self.lock().iter().cloned().unzip()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, String)>> {
        self.strange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
