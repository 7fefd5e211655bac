//! Callbacks: who is told what happened. Written down in the transaction in which it happens, delivered by any
//! scheduler, at least once.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{DagId, RunId, TaskId};

/// What somebody may want to be told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Event {
    /// A task succeeded.
    TaskSuccess,
    /// A task failed, and no try is left.
    TaskFailure,
    /// A try failed, and another one follows.
    TaskRetry,
    /// A task decided that there is nothing to do.
    TaskSkipped,
    /// A run succeeded.
    RunSuccess,
    /// A run failed.
    RunFailure,
    /// A run has not ended in time.
    DeadlineMissed,
}

impl Event {
    /// As it is stored and told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskSuccess => "task_success",
            Self::TaskFailure => "task_failure",
            Self::TaskRetry => "task_retry",
            Self::TaskSkipped => "task_skipped",
            Self::RunSuccess => "run_success",
            Self::RunFailure => "run_failure",
            Self::DeadlineMissed => "deadline_missed",
        }
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Notice {
    /// What.
    pub event: Event,
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// The date that the run stands for.
    pub logical_date: Option<DateTime<Utc>>,
    /// The task, if it is about one.
    pub task_id: Option<TaskId>,
    /// Its index in a mapped task.
    pub map_index: i32,
    /// The number of its try.
    pub try_number: Option<i32>,
    /// Why it did not succeed.
    pub cause: Option<String>,
    /// When.
    pub happened_at: DateTime<Utc>,
}

impl fmt::Display for Notice {
    /// A sentence for people.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dag_id, run_id, .. } = self;
        let task = self.task_id.as_ref().map(TaskId::as_str).unwrap_or_default();
        match self.event {
            Event::TaskSuccess => write!(out, "{dag_id}.{task} succeeded in {run_id}")?,
            Event::TaskFailure => write!(out, "{dag_id}.{task} failed in {run_id}")?,
            Event::TaskRetry => write!(out, "{dag_id}.{task} failed in {run_id} and is tried again")?,
            Event::TaskSkipped => write!(out, "{dag_id}.{task} was skipped in {run_id}")?,
            Event::RunSuccess => write!(out, "{dag_id} succeeded: {run_id}")?,
            Event::RunFailure => write!(out, "{dag_id} failed: {run_id}")?,
            Event::DeadlineMissed => write!(out, "{dag_id} missed its deadline: {run_id}")?,
        }
        self.cause.as_ref().map_or(Ok(()), |cause| write!(out, ": {cause}"))
    }
}

/// Tells somebody. An error, or a call that takes longer than half a minute, is tried again later; the same notice may
/// come twice.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Tells what happened.
    ///
    /// # Errors
    /// It could not be told.
    async fn notify(&self, notice: &Notice) -> anyhow::Result<()>;
}

#[async_trait]
impl<F, Fut> Notifier for F
where
    F: Fn(Notice) -> Fut + Send + Sync,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    async fn notify(&self, notice: &Notice) -> anyhow::Result<()> {
        self(notice.clone()).await
    }
}

/// When a run is late: Airflow's `DeadlineAlert`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deadline {
    /// So long after the run was queued.
    AfterQueued(Duration),
    /// So long after its logical date; a run without one has no such deadline.
    AfterLogicalDate(Duration),
}

impl Deadline {
    /// When a run of that logical date that is queued now is late.
    #[must_use]
    pub fn due_at(self, queued: DateTime<Utc>, logical_date: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        match self {
            Self::AfterQueued(after) => Some(queued + after),
            Self::AfterLogicalDate(after) => Some(logical_date? + after),
        }
    }
}
