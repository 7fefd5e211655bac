//! The DAGs that a binary knows.

use std::{collections::HashMap, fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::{body::Body, check::Fault, draft::Dag, graph::Graph};
use crate::{
    ids::{DagId, TaskId},
    notify::{Event, Notifier},
};

/// A DAG that has been checked: its graph, and what its tasks do.
#[derive(Clone)]
pub struct Definition {
    graph: Arc<Graph>,
    bodies: Arc<HashMap<TaskId, Body>>,
    callbacks: Arc<Callbacks>,
    written: Written,
}

/// Where a DAG is written, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// The file, as the compiler saw it.
    pub file: &'static str,
    /// Its text, if the DAG carries it.
    pub source: Option<&'static str>,
}

/// Who is told, by what it is about: a task or the run, an event, and of deadlines which one.
pub(super) type Callbacks = HashMap<(Option<TaskId>, Event, i32), Vec<Arc<dyn Notifier>>>;

impl Definition {
    pub(super) fn new(graph: Graph, bodies: HashMap<TaskId, Body>, callbacks: Callbacks, written: Written) -> Self {
        Self { graph: Arc::new(graph), bodies: Arc::new(bodies), callbacks: Arc::new(callbacks), written }
    }

    /// Where it is written, and how.
    #[must_use]
    pub fn written(&self) -> Written {
        self.written
    }

    /// The DAG as data.
    #[must_use]
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Who is told of an event of a task, or of a run; `ordinal` says which of the deadlines.
    #[must_use]
    pub fn notifiers(&self, task: Option<&TaskId>, event: Event, ordinal: i32) -> &[Arc<dyn Notifier>] {
        self.callbacks.get(&(task.cloned(), event, ordinal)).map_or(&[], Vec::as_slice)
    }

    /// What the task of that name does.
    #[must_use]
    pub fn body(&self, task: &TaskId) -> Option<&Body> {
        self.bodies.get(task)
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.graph.fmt(out)
    }
}

/// All DAGs of a binary, by id.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    dags: HashMap<DagId, Definition>,
}

impl Registry {
    /// Checks every DAG.
    ///
    /// # Errors
    /// All faults of all DAGs.
    pub fn build(dags: Vec<Dag>) -> Result<Self, RegistryFaults> {
        let mut registry = Self::default();
        let mut faults = Vec::new();
        for dag in dags {
            match dag.build() {
                Ok(definition) => {
                    let dag_id = definition.graph().dag_id().clone();
                    if registry.dags.insert(dag_id.clone(), definition).is_some() {
                        faults.push(Fault::DuplicateDag(dag_id));
                    }
                }
                Err(of_dag) => faults.extend(of_dag),
            }
        }
        if faults.is_empty() { Ok(registry) } else { Err(RegistryFaults(faults)) }
    }

    /// The DAG of that id.
    #[must_use]
    pub fn get(&self, dag: &DagId) -> Option<&Definition> {
        self.dags.get(dag)
    }

    /// All DAGs, in the order of their ids.
    #[must_use]
    pub fn definitions(&self) -> Vec<&Definition> {
        let mut all: Vec<_> = self.dags.values().collect();
        all.sort_by_key(|definition| definition.graph().dag_id());
        all
    }

    /// What tells binaries apart: a hash over the graphs of all DAGs.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hashes: Vec<_> = self.definitions().into_iter().map(|definition| definition.graph().hash()).collect();
        format!("{:x}", Sha256::digest(hashes.join(" ")))
    }

    /// The ids of all DAGs.
    #[must_use]
    pub fn dag_ids(&self) -> Vec<DagId> {
        self.definitions().into_iter().map(|definition| definition.graph().dag_id().clone()).collect()
    }
}

/// Everything that is wrong with the DAGs of a binary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistryFaults(pub Vec<Fault>);

impl fmt::Display for RegistryFaults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for RegistryFaults {}
