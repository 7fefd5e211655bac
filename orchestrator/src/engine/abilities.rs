//! What a binary can run: a worker claims nothing else, whatever the database holds.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    dag::Registry,
    ids::{DagId, TaskId, VersionId},
};

/// The tasks of a binary, and what it has met and cannot run: tasks of an older or newer version of a DAG.
#[derive(Debug)]
pub struct Abilities {
    registry: Arc<Registry>,
    dags: Vec<String>,
    strange: Mutex<Strange>,
}

/// What a binary has met and leaves to others.
#[derive(Clone, Debug, Default)]
pub struct Strange {
    /// Tasks that it does not have.
    tasks: BTreeSet<(String, String)>,
    /// Versions whose graphs it cannot read.
    versions: BTreeSet<i64>,
}

impl Strange {
    /// The DAGs and the names of its tasks.
    #[must_use]
    pub fn tasks(&self) -> (Vec<String>, Vec<String>) {
        self.tasks.iter().cloned().unzip()
    }

    /// Its versions.
    #[must_use]
    pub fn versions(&self) -> Vec<i64> {
        self.versions.iter().copied().collect()
    }
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
    pub(super) fn leave_task(&self, dag: &DagId, task: &TaskId) {
        if self.lock().tasks.insert((dag.as_str().to_owned(), task.as_str().to_owned())) {
            tracing::info!(%dag, %task, "left to other workers: this binary does not have the task");
        }
    }

    /// Remembers a version whose graph it cannot read. Others of the same DAG it may read: those from before a deploy.
    pub(super) fn leave_version(&self, dag: &DagId, version: VersionId) {
        if self.lock().versions.insert(version.0) {
            tracing::info!(%dag, %version, "left to other workers: this binary cannot read the graph of the version");
        }
    }

    /// What it has met and leaves to others.
    #[must_use]
    pub fn strange(&self) -> Strange {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Strange> {
        self.strange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
