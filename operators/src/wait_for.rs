//! Waits for what another DAG does.

use chrono::{DateTime, TimeDelta, Utc};
use orchestrator::{
    context::{Context, FailWithoutRetry, TaskResult},
    dag::{Operator, Poke},
    ids::{DagId, TaskId},
    state::RunState,
};

/// A sensor that waits for a task of another DAG, or for the DAG's run, of the same logical date, or of one that lies
/// earlier: Airflow's `ExternalTaskSensor`. It succeeds when all instances of the task have ended well or were skipped
/// (when the run has succeeded), and fails at once when one (when the run) has failed.
///
/// ```
/// use operators::WaitFor;
/// use orchestrator::prelude::*;
///
/// let dag = Dag::new("report").schedule(Schedule::cron("0 6 * * *"));
/// // The run of five o'clock.
/// let loaded = dag.task("loaded", WaitFor::task("load", "to_warehouse").earlier(chrono::TimeDelta::hours(1)));
/// # dag.build().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct WaitFor {
    dag: DagId,
    task: Option<TaskId>,
    earlier: TimeDelta,
}

impl WaitFor {
    /// Waits for a task.
    #[must_use]
    pub fn task(dag: &str, task: &str) -> Self {
        Self { task: Some(task.into()), ..Self::dag(dag) }
    }

    /// Waits for a run of a DAG.
    #[must_use]
    pub fn dag(dag: &str) -> Self {
        Self { dag: dag.into(), task: None, earlier: TimeDelta::zero() }
    }

    /// In the run whose logical date lies so much earlier: Airflow's `execution_delta`.
    #[must_use]
    pub fn earlier(self, earlier: TimeDelta) -> Self {
        Self { earlier, ..self }
    }
}

impl Operator for WaitFor {
    type Output = Poke<()>;

    async fn run(&self, context: Context) -> TaskResult<Poke<()>> {
        let Some(date) = context.logical_date() else {
            let text = "a run without a logical date has no run of another dag to wait for";
            return Err(FailWithoutRetry(text.to_owned()).into());
        };
        let date = date - self.earlier;
        let is_done = match &self.task {
            Some(task) => self.task_is_done(&context, task, date).await?,
            None => self.run_is_done(&context, date).await?,
        };
        Ok(if is_done { Poke::Done(()) } else { Poke::NotYet })
    }
}

impl WaitFor {
    async fn task_is_done(&self, context: &Context, task: &TaskId, date: DateTime<Utc>) -> TaskResult<bool> {
        let states = context.states(&self.dag, task, date).await?;
        if let Some(state) = states.iter().find(|state| state.is_failure()) {
            return Err(FailWithoutRetry(format!("{}.{task} of {date} is {state}", self.dag)).into());
        }
        Ok(!states.is_empty() && states.iter().all(|state| state.is_finished()))
    }

    /// Not by its tasks: of a run that took too long, or was marked, the state alone tells.
    async fn run_is_done(&self, context: &Context, date: DateTime<Utc>) -> TaskResult<bool> {
        match context.run_state(&self.dag, date).await? {
            Some(RunState::Failed) => Err(FailWithoutRetry(format!("{} of {date} is failed", self.dag)).into()),
            state => Ok(state == Some(RunState::Success)),
        }
    }
}
