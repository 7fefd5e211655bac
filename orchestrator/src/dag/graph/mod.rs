//! A DAG as data: what is stored as a version, hashed, and read back by the engine.

mod choice;
mod setups;
mod shape;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::shape::Neighbours;
pub use self::{choice::NotAfter, shape::Edge};
use super::{
    params::Params,
    spec::{GroupSpec, TaskSpec},
};
use crate::{
    ids::{DagId, Node},
    notify::{Deadline, Event},
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
    #[serde(default = "max_active_tasks")]
    pub(super) max_active_tasks: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dagrun_timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) fail_fast: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_consecutive_failed_dag_runs: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) callbacks: Vec<Event>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) deadlines: Vec<Deadline>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) params: Option<Params>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jitter: Option<Duration>,
    #[serde(default = "max_map_length", skip_serializing_if = "is_default_map_length")]
    pub(super) max_map_length: usize,
    tasks: Vec<TaskSpec>,
    edges: Vec<(Node, Node)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<GroupSpec>,
    #[serde(skip)]
    neighbours: Neighbours,
}

/// Airflow's default for `max_active_tasks`.
const MAX_ACTIVE_TASKS: i32 = 16;

fn max_active_tasks() -> i32 {
    MAX_ACTIVE_TASKS
}

/// Airflow's default for `max_map_length`.
const MAX_MAP_LENGTH: usize = 1_024;

fn max_map_length() -> usize {
    MAX_MAP_LENGTH
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_default_map_length(length: &usize) -> bool {
    *length == MAX_MAP_LENGTH
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
            max_active_tasks: MAX_ACTIVE_TASKS,
            dagrun_timeout: None,
            fail_fast: false,
            max_consecutive_failed_dag_runs: None,
            callbacks: Vec::new(),
            deadlines: Vec::new(),
            params: None,
            jitter: None,
            max_map_length: MAX_MAP_LENGTH,
            tasks: Vec::new(),
            edges: Vec::new(),
            groups: Vec::new(),
            neighbours: Neighbours::default(),
        }
    }

    pub(super) fn with_tasks(self, tasks: Vec<TaskSpec>, edges: Vec<(Node, Node)>, groups: Vec<GroupSpec>) -> Self {
        Self { tasks, edges, groups, ..self }.linked()
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

    /// How many tasks of one run may be queued or running at once.
    #[must_use]
    pub fn max_active_tasks(&self) -> i32 {
        self.max_active_tasks
    }

    /// The tasks of which only so many instances may be queued or running at once in one run.
    pub fn limits_per_run(&self) -> impl Iterator<Item = (Node, i32)> {
        self.nodes().zip(&self.tasks).filter_map(|(node, task)| Some((node, task.max_active_tis_per_dagrun?)))
    }

    /// How long a run may take from its start.
    #[must_use]
    pub fn dagrun_timeout(&self) -> Option<Duration> {
        self.dagrun_timeout
    }

    /// Whether the first failure for good ends the run.
    #[must_use]
    pub fn fail_fast(&self) -> bool {
        self.fail_fast
    }

    /// Whether what happens in a run matters to the next one.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        self.tasks.iter().any(|task| !task.past.is_ignored())
    }

    /// How many failed runs in a row pause the DAG.
    #[must_use]
    pub fn max_consecutive_failed_dag_runs(&self) -> Option<u32> {
        self.max_consecutive_failed_dag_runs
    }

    /// What somebody wants to be told about its runs.
    #[must_use]
    pub fn callbacks(&self) -> &[Event] {
        &self.callbacks
    }

    /// When its runs are late.
    #[must_use]
    pub fn deadlines(&self) -> &[Deadline] {
        &self.deadlines
    }

    /// What may be said about a run when it is triggered.
    #[must_use]
    pub fn params(&self) -> Option<&Params> {
        self.params.as_ref()
    }

    /// By how much at most its scheduled runs start later than their slots.
    #[must_use]
    pub fn jitter(&self) -> Option<Duration> {
        self.jitter
    }

    /// How many instances a mapped task or group may have.
    #[must_use]
    pub fn max_map_length(&self) -> usize {
        self.max_map_length
    }
}
