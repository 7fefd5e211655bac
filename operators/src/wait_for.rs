//! Waits for what another DAG does.

use chrono::TimeDelta;
use orchestrator::{
    context::{Context, FailWithoutRetry, TaskResult},
    dag::{Operator, Poke},
    ids::{DagId, TaskId},
    state::TaskState,
};

/// A sensor that waits for a task of another DAG, or for all of its tasks, in the run of the same logical date, or of
/// one that lies earlier: Airflow's `ExternalTaskSensor`. It succeeds when all instances have ended well or were
/// skipped, and fails at once when one has failed.
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

    /// Waits for all tasks of a DAG.
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
        let states = context.states(&self.dag, self.task.as_ref(), date).await?;
        let what = || self.task.as_ref().map_or_else(|| self.dag.to_string(), |task| format!("{}.{task}", self.dag));
        if let Some(state) = states.iter().find(|state| state.is_failure()) {
            return Err(FailWithoutRetry(format!("{} of {date} is {state}", what())).into());
        }
        let is_well = |state: &TaskState| state.is_finished();
        Ok(if !states.is_empty() && states.iter().all(is_well) { Poke::Done(()) } else { Poke::NotYet })
    }
}
