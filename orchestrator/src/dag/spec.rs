//! What the graph says of one task.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use serde_json::Value;

use crate::{
    ids::{Node, TaskId},
    notify::Event,
    readiness::TriggerRule,
    retry::RetryPolicy,
};

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
    /// What else counts for its priority.
    #[serde(default, skip_serializing_if = "WeightRule::is_absolute")]
    pub weight_rule: WeightRule,
    /// Which workers take it.
    pub queue: String,
    /// What it is there for.
    #[serde(default, skip_serializing_if = "Role::is_work")]
    pub role: Role,
    /// The pool whose slots it takes while it is queued or runs.
    #[serde(default = "default_pool", skip_serializing_if = "is_default_pool")]
    pub pool: String,
    /// How many slots of the pool it takes.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub pool_slots: i32,
    /// How many of its task instances may be queued or running at once, over all runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dag: Option<i32>,
    /// How many of its task instances may be queued or running at once in one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dagrun: Option<i32>,
    /// Where its body runs.
    #[serde(default, skip_serializing_if = "Isolation::is_none")]
    pub isolation: Isolation,
    /// What it owes to the run before.
    #[serde(default, skip_serializing_if = "Past::is_ignored")]
    pub past: Past,
    /// How it waits, if it is a sensor.
    #[serde(default, skip_serializing_if = "SensorSpec::is_default")]
    pub sensor: SensorSpec,
    /// The assets that it updates when it succeeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<String>,
    /// What somebody wants to be told about it; twice what two want to be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub callbacks: Vec<Event>,
    /// What it is mapped over, if it is a mapped task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    /// The group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupIndex>,
}

/// What a mapped task, or a mapped group, has one instance for each item of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// These.
    Values(Vec<Value>),
    /// The items of the list that this task returns; of a mapped one: what its instances return.
    Result(Node),
}

/// A group's position in the graph of its version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupIndex(pub usize);

/// What the graph says of a group of tasks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupSpec {
    /// Its name, with those of the groups around it: what the names of its tasks begin with.
    pub group_id: TaskId,
    /// The group around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<GroupIndex>,
    /// What it is mapped over, if it is a mapped group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

/// What has one instance for each item of something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Mapped {
    /// A mapped task.
    Task(Node),
    /// All tasks of a mapped group.
    Group(GroupIndex),
}

/// What counts for the priority of a task besides its own weight: Airflow's weight rules. Its default is `downstream`; ours
/// is `absolute`, for tasks of one priority share fairly, and a long DAG would go before all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightRule {
    /// Nothing.
    #[default]
    Absolute,
    /// The weights of all tasks after it, directly or not: what much waits for goes first.
    Downstream,
    /// The weights of all tasks before it: what was begun is brought to its end.
    Upstream,
}

impl WeightRule {
    fn is_absolute(&self) -> bool {
        *self == Self::Absolute
    }

    /// Airflow's name of it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
        }
    }
}

/// Where a body runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In the worker, beside others.
    #[default]
    Worker,
    /// In a process of its own: it may crash or block, and when it is stopped its whole process group ends.
    Process,
}

impl Isolation {
    fn is_none(&self) -> bool {
        *self == Self::Worker
    }
}

/// What a task owes to the run before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Past {
    /// Nothing.
    #[default]
    Ignored,
    /// It must have ended well there: Airflow's `depends_on_past`.
    Itself,
    /// It and the tasks directly after it must have: Airflow's `wait_for_downstream`.
    WithDownstream,
}

impl Past {
    pub(super) fn is_ignored(&self) -> bool {
        *self == Self::Ignored
    }
}

/// How a sensor waits; for a task that is none it means nothing.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct SensorSpec {
    /// Between two looks.
    pub poke_interval: Duration,
    /// From the first look of a try; after that it has failed, and is not tried again.
    pub timeout: Duration,
    /// Whether it is skipped instead of failed when its time is over.
    pub soft_fail: bool,
}

impl Default for SensorSpec {
    /// Airflow's defaults: every minute, for a week.
    fn default() -> Self {
        Self { poke_interval: Duration::from_secs(60), timeout: Duration::from_secs(604_800), soft_fail: false }
    }
}

impl SensorSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Airflow's name of the pool of tasks that name none.
pub const DEFAULT_POOL: &str = "default_pool";

fn default_pool() -> String {
    DEFAULT_POOL.to_owned()
}

fn is_default_pool(pool: &str) -> bool {
    pool == DEFAULT_POOL
}

fn one() -> i32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_one(slots: &i32) -> bool {
    *slots == 1
}

/// What a task is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The work itself.
    #[default]
    Work,
    /// Makes something that the tasks after it need.
    Setup,
    /// Takes away what setups made, however the work in between ended. It does not count for the run's verdict.
    Teardown,
    /// The same; and when it fails, the run has failed. Airflow's `on_failure_fail_dagrun`.
    DecisiveTeardown,
}

impl Role {
    fn is_work(&self) -> bool {
        *self == Self::Work
    }

    /// Whether it takes away what setups made.
    #[must_use]
    pub fn is_teardown(self) -> bool {
        matches!(self, Self::Teardown | Self::DecisiveTeardown)
    }
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
            weight_rule: WeightRule::default(),
            queue: "default".to_owned(),
            role: Role::default(),
            pool: default_pool(),
            pool_slots: 1,
            max_active_tis_per_dag: None,
            max_active_tis_per_dagrun: None,
            isolation: Isolation::default(),
            past: Past::default(),
            sensor: SensorSpec::default(),
            outlets: Vec::new(),
            callbacks: Vec::new(),
            over: None,
            group: None,
        }
    }
}
