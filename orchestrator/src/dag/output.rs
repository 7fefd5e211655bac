//! What a task returns: a value for later tasks, or a choice of which of them run.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{context::TaskResult, ids::TaskId};

/// What a body leaves behind.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Returned {
    /// For later tasks to read: Airflow's `return_value`.
    pub value: Value,
    /// Which of the tasks after it may run.
    pub next: Next,
    /// Whether the work is done.
    pub progress: Progress,
}

/// Whether what a task was to do is done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Progress {
    /// It is.
    #[default]
    Done,
    /// What a sensor waits for has not come yet: it looks again when its interval is over.
    NotYet,
    /// It goes on at that instant.
    Until(DateTime<Utc>),
    /// It goes on when that signal is posted.
    Signal(String),
}

/// Which of the tasks after a task that succeeded may run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Next {
    /// All; each by its trigger rule.
    #[default]
    All,
    /// Of those directly after it these, and what can be reached from these; the others are skipped.
    Only(Vec<TaskId>),
    /// None of those directly after it; what comes later follows its trigger rules.
    NothingDirectly,
    /// Nothing at all after it, whatever its trigger rules say.
    Nothing,
}

/// Anything that a task may return: what can be written as JSON, a [`Branch`], a [`ShortCircuit`], or a [`Poke`].
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    note = "a task returns something that implements `serde::Serialize`, a `Branch`, a `ShortCircuit` or a `Poke`"
)]
pub trait Output {
    /// What later tasks take.
    type Value;

    /// Takes it apart.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    fn into_returned(self) -> TaskResult<Returned>;
}

impl<T: Serialize> Output for T {
    type Value = T;

    fn into_returned(self) -> TaskResult<Returned> {
        let value = serde_json::to_value(self).context("cannot write what the task returned as JSON")?;
        Ok(Returned { value, next: Next::All, progress: Progress::Done })
    }
}

/// Chooses which of the tasks directly after it run; the others are skipped. Airflow's `@task.branch`.
///
/// ```
/// # use orchestrator::prelude::*;
/// async fn choose(context: Context) -> TaskResult<Branch> {
///     Ok(Branch::to([if context.conf()["full"] == true { "reload" } else { "append" }]))
/// }
///
/// let dag = Dag::new("load");
/// let [reload, append] = ["reload", "append"].map(|task| dag.task(task, async |_: Context| TaskResult::Ok(())));
/// dag.chain(dag.task("choose", choose) >> [reload, append]);
/// # dag.build().unwrap();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Branch(Vec<TaskId>);

impl Branch {
    /// These run: tasks, or groups. Each must come directly after the task that chooses, or its try fails.
    #[must_use]
    pub fn to<'a>(tasks: impl IntoIterator<Item = &'a str>) -> Self {
        Self(tasks.into_iter().map(TaskId::from).collect())
    }

    /// None of them runs.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }
}

impl Output for Branch {
    type Value = Vec<TaskId>;

    fn into_returned(self) -> TaskResult<Returned> {
        Ok(Returned { value: serde_json::to_value(&self.0)?, next: Next::Only(self.0), progress: Progress::Done })
    }
}

/// Goes on, or ends this way through the DAG here: what comes after is skipped. Airflow's `@task.short_circuit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShortCircuit {
    goes_on: bool,
    skips: SkipReach,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SkipReach {
    Everything,
    OnlyDirectly,
}

impl ShortCircuit {
    /// Goes on if `condition` holds; else everything after it is skipped, whatever its trigger rule.
    #[must_use]
    pub fn go_on_if(condition: bool) -> Self {
        Self { goes_on: condition, skips: SkipReach::Everything }
    }

    /// Skips only what comes directly after it; later tasks follow their trigger rules. Airflow's
    /// `ignore_downstream_trigger_rules=False`.
    #[must_use]
    pub fn respecting_trigger_rules(self) -> Self {
        Self { skips: SkipReach::OnlyDirectly, ..self }
    }
}

impl Output for ShortCircuit {
    type Value = bool;

    fn into_returned(self) -> TaskResult<Returned> {
        let next = match (self.goes_on, self.skips) {
            (true, _) => Next::All,
            (false, SkipReach::Everything) => Next::Nothing,
            (false, SkipReach::OnlyDirectly) => Next::NothingDirectly,
        };
        Ok(Returned { value: Value::Bool(self.goes_on), next, progress: Progress::Done })
    }
}

/// What a sensor saw. A task that returns it is a sensor in Airflow's reschedule mode: between two looks it holds no
/// worker slot and no slot of its pool.
///
/// ```
/// # use std::time::Duration;
/// # use orchestrator::prelude::*;
/// async fn file(_: Context) -> TaskResult<Poke<u64>> {
///     Ok(match std::fs::metadata("/data/orders.csv") {
///         Ok(file) => Poke::Done(file.len()),
///         Err(_) => Poke::NotYet,
///     })
/// }
///
/// async fn load(_: Context, bytes: u64) -> TaskResult<u64> {
///     Ok(bytes)
/// }
///
/// let dag = Dag::new("orders");
/// let file = dag.task("file", file).poke_interval(Duration::from_secs(30)).timeout(Duration::from_secs(3_600));
/// dag.task("load", load.with(file));
/// # dag.build().unwrap();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Poke<T> {
    /// What it waits for is there.
    Done(T),
    /// It is not: look again later.
    NotYet,
    /// It will not be before that instant: the body runs again then. Airflow's deferral with a time trigger.
    Until(DateTime<Utc>),
    /// It will be when somebody posts that [signal](crate::commands::post_signal): the body runs again then, and finds it
    /// with [`Context::signal`](crate::context::Context::signal). Airflow's deferral until an event.
    OnSignal(String),
}

impl<T: Serialize> Output for Poke<T> {
    type Value = T;

    fn into_returned(self) -> TaskResult<Returned> {
        let progress = match self {
            Self::Done(value) => return value.into_returned(),
            Self::NotYet => Progress::NotYet,
            Self::Until(instant) => Progress::Until(instant),
            Self::OnSignal(key) => Progress::Signal(key),
        };
        Ok(Returned { value: Value::Null, next: Next::All, progress })
    }
}
