//! What a running task sees.

use std::{fmt, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::ids::{DagId, RunId, TaskId};

/// What a task's body ends with. Any error is a failed try, which is retried if tries are left; return
/// [`FailWithoutRetry`] or [`Skip`] as the error to say otherwise.
pub type TaskResult<T> = anyhow::Result<T>;

/// An error that another try cannot mend: Airflow's `AirflowFailException`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FailWithoutRetry(pub String);

/// Says that there is nothing to do: the task ends `skipped`. Airflow's `AirflowSkipException`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Skip(pub String);

/// The try that runs, and its run. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    facts: Arc<Facts>,
    results: Arc<dyn Results>,
    cancelled: CancellationToken,
}

/// What is known about a try when it starts.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// The task.
    pub task_id: TaskId,
    /// The number of this try, from 1.
    pub try_number: u32,
    /// The index in a mapped task, -1 otherwise.
    pub map_index: i32,
    /// The date that the run stands for; none if it was triggered without one.
    pub logical_date: Option<DateTime<Utc>>,
    /// What the run was triggered with.
    pub conf: Value,
}

/// Where the results of other tasks are read.
#[async_trait]
pub trait Results: Send + Sync {
    /// What the task returned in this run, if it did.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn result_of(&self, task: &TaskId) -> anyhow::Result<Option<Value>>;

    /// What this instance of a mapped task, or of a task of a mapped group, runs for.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn item(&self) -> anyhow::Result<Option<Value>>;
}

impl Context {
    /// A context for one try.
    #[must_use]
    pub fn new(facts: Facts, results: Arc<dyn Results>, cancelled: CancellationToken) -> Self {
        Self { facts: Arc::new(facts), results, cancelled }
    }

    /// What is known about this try.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The DAG.
    #[must_use]
    pub fn dag_id(&self) -> &DagId {
        &self.facts.dag_id
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.facts.run_id
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> &TaskId {
        &self.facts.task_id
    }

    /// The number of this try, from 1.
    #[must_use]
    pub fn try_number(&self) -> u32 {
        self.facts.try_number
    }

    /// The date that the run stands for; none if it was triggered without one.
    #[must_use]
    pub fn logical_date(&self) -> Option<DateTime<Utc>> {
        self.facts.logical_date
    }

    /// What the run was triggered with.
    #[must_use]
    pub fn conf(&self) -> &Value {
        &self.facts.conf
    }

    /// Ends when this try is to stop: it was cleared, has timed out, or its worker stops. A body that is dropped at
    /// its next `await` needs not look at it; a body that holds a process or a job outside may clean up.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// What another task of this run returned: Airflow's `xcom_pull`. Handles do the same with the compiler's help.
    ///
    /// # Errors
    /// The task returned nothing in this run, or something that is not a `T`.
    pub async fn result_of<T: DeserializeOwned>(&self, task: &TaskId) -> TaskResult<T> {
        let value = self.results.result_of(task).await?;
        let value = value.with_context(|| format!("the task {task} has no result in the run {}", self.run_id()))?;
        serde_json::from_value(value).with_context(|| format!("the result of the task {task} has another shape"))
    }

    /// What this instance of a mapped task, or of a task of a mapped group, runs for. Arguments of a mapped function do
    /// the same with the compiler's help.
    ///
    /// # Errors
    /// The task is not mapped, there is no item of its index (any more), or it is not a `T`.
    pub async fn item<T: DeserializeOwned>(&self) -> TaskResult<T> {
        let index = self.facts.map_index;
        let item = self.results.item().await?;
        let item = item.with_context(|| format!("the task {} has no item of the index {index}", self.task_id()))?;
        serde_json::from_value(item).with_context(|| format!("the item of the index {index} has another shape"))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(out)
    }
}
