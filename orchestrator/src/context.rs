//! What a running task sees.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ids::{DagId, RunId, TaskId},
    lookup::Connection,
    redact,
    state::{RunState, TaskState},
    store::{assets::AssetEvent, run_dates::RunDates},
    task_log, template, told,
};

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

/// How long what a body leaves to [`Context::see_through`] may go on after the try was stopped.
pub const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// The try that runs, and its run. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    facts: Arc<Facts>,
    reads: Arc<dyn Reads>,
    cancelled: CancellationToken,
    endings: TaskTracker,
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
    /// The params of the DAG as they are in this run.
    pub params: Value,
}

/// Where a try reads what it is not given.
#[async_trait]
pub trait Reads: Send + Sync {
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

    /// The value of a variable.
    ///
    /// # Errors
    /// The store cannot be reached, or the value cannot be opened.
    async fn variable(&self, key: &str) -> anyhow::Result<Option<String>>;

    /// A connection.
    ///
    /// # Errors
    /// The store cannot be reached, or its secrets cannot be opened.
    async fn connection(&self, conn_id: &str) -> anyhow::Result<Option<Connection>>;

    /// The updates of assets that made the run.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn asset_events(&self) -> anyhow::Result<Vec<AssetEvent>>;

    /// When the run is, and why.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn run_dates(&self) -> anyhow::Result<Option<RunDates>>;

    /// When any run is, and why.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn run_dates_of(&self, dag: &DagId, run: &RunId) -> anyhow::Result<Option<RunDates>>;

    /// When the last run before this one was that succeeded, by logical date.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn previous_success(&self) -> anyhow::Result<Option<RunDates>>;

    /// What was posted as a signal.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn signal(&self, key: &str) -> anyhow::Result<Option<Value>>;

    /// The states of the instances of a task in the run of that logical date.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn states(&self, dag: &DagId, task: &TaskId, date: DateTime<Utc>) -> anyhow::Result<Vec<TaskState>>;

    /// The state of the run of that logical date.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn run_state(&self, dag: &DagId, date: DateTime<Utc>) -> anyhow::Result<Option<RunState>>;
}

impl Context {
    /// A context for one try.
    #[must_use]
    pub fn new(facts: Facts, reads: Arc<dyn Reads>, cancelled: CancellationToken, endings: TaskTracker) -> Self {
        Self { facts: Arc::new(facts), reads, cancelled, endings }
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

    /// The params of the DAG as they are in this run: its defaults, and what the run was triggered with.
    ///
    /// # Errors
    /// The DAG has no params, or they are not a `P`.
    pub fn params<P: DeserializeOwned>(&self) -> TaskResult<P> {
        let wrong =
            || format!("the params of the dag {} are not what the task wants: {}", self.dag_id(), self.facts.params);
        serde_json::from_value(self.facts.params.clone()).with_context(wrong)
    }

    /// The value of a variable: Airflow's `Variable.get`. What sounds secret, by its name or in its JSON, is masked in the log from here on.
    ///
    /// # Errors
    /// There is no such variable, or it cannot be opened with the keys of this worker.
    pub async fn variable(&self, key: &str) -> TaskResult<String> {
        self.find_variable(key).await?.with_context(|| format!("there is no variable {key}"))
    }

    pub(crate) async fn find_variable(&self, key: &str) -> TaskResult<Option<String>> {
        let value = self.reads.variable(key).await?;
        let secrets = value.iter().flat_map(|value| redact::secrets_of_text(key, value));
        secrets.for_each(|secret| task_log::mask(&secret));
        Ok(value)
    }

    /// How to reach another system: Airflow's `BaseHook.get_connection`. Its secrets are masked in the log from here on.
    ///
    /// # Errors
    /// There is no such connection, or it cannot be opened with the keys of this worker.
    pub async fn connection(&self, conn_id: &str) -> TaskResult<Connection> {
        self.find_connection(conn_id).await?.with_context(|| format!("there is no connection {conn_id}"))
    }

    pub(crate) async fn find_connection(&self, conn_id: &str) -> TaskResult<Option<Connection>> {
        let found = self.reads.connection(conn_id).await?;
        found.iter().flat_map(Connection::secrets).for_each(|secret| task_log::mask(&secret));
        Ok(found)
    }

    /// Renders a template with Airflow's variables, filters and macros: `{{ ds }}`, `{{ params.region }}`,
    /// `{{ var.value.bucket }}`, `{{ conn.db.host }}`, `{{ ti.xcom_pull(task_ids="list") }}`. Secrets that it takes are
    /// masked in the log from here on.
    ///
    /// # Errors
    /// It is no template, or takes what is not there.
    pub async fn render(&self, template: &str) -> TaskResult<String> {
        let value = template::render(self, template).await?;
        if value != template {
            self.rendered(template, &value);
        }
        Ok(value)
    }

    /// Shows a value that the try works with on its page, and in the API as one of its `rendered_fields`. What this try
    /// has read of secrets is masked.
    pub fn rendered(&self, name: &str, value: &str) {
        task_log::tell(told::Kind::Rendered, name, value);
    }

    /// Shows where more of this try is, for example its job in another system: Airflow's operator links.
    pub fn link(&self, name: &str, url: &str) {
        task_log::tell(told::Kind::Link, name, url);
    }

    /// The data interval of the run; none if it was made without one.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn data_interval(&self) -> TaskResult<Option<(DateTime<Utc>, DateTime<Utc>)>> {
        let dates = self.reads.run_dates().await?;
        Ok(dates.and_then(|dates| dates.data_interval_start.zip(dates.data_interval_end)))
    }

    /// When the run was made and started, and why: Airflow's `dag_run`.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn run_dates(&self) -> TaskResult<Option<RunDates>> {
        self.reads.run_dates().await
    }

    /// When another run was made and started, and why, for example that of an asset's update: Airflow's
    /// `source_dag_run`. None if it is not there (any more).
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn run_dates_of(&self, dag: &DagId, run: &RunId) -> TaskResult<Option<RunDates>> {
        self.reads.run_dates_of(dag, run).await
    }

    /// When the last run was that succeeded, of those of an earlier logical date: Airflow's
    /// `prev_data_interval_start_success` and its like.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn previous_success(&self) -> TaskResult<Option<RunDates>> {
        self.reads.previous_success().await
    }

    /// The updates of assets that made this run: Airflow's `triggering_asset_events`.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn asset_events(&self) -> TaskResult<Vec<AssetEvent>> {
        self.reads.asset_events().await
    }

    /// What was posted as a signal, if it was.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn signal(&self, key: &str) -> TaskResult<Option<Value>> {
        self.reads.signal(key).await
    }

    /// The states of the instances of a task of another DAG in the run of that logical date. Nothing if there is no such
    /// run.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn states(&self, dag: &DagId, task: &TaskId, date: DateTime<Utc>) -> TaskResult<Vec<TaskState>> {
        self.reads.states(dag, task, date).await
    }

    /// The state of another DAG's run of that logical date; none if there is no such run.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn run_state(&self, dag: &DagId, date: DateTime<Utc>) -> TaskResult<Option<RunState>> {
        self.reads.run_state(dag, date).await
    }

    /// Ends when this try is to stop: it was cleared, has timed out, or its worker stops. A body that is dropped at
    /// its next `await` needs not look at it; a body that holds a process or a job outside may clean up.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Work that is not just dropped when the body ends or the try is stopped: it is told so by [`Self::cancelled`], and has
    /// [`STOP_PATIENCE`] to end; until then the try's end is not told, and no retry begins. None: it took longer. What it
    /// says is in this try's log.
    pub fn see_through<W>(&self, work: W) -> JoinHandle<Option<W::Output>>
    where
        W: Future<Output: Send> + Send + 'static,
    {
        let cancelled = self.cancelled.clone();
        let too_long = async move {
            cancelled.cancelled().await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        self.endings.spawn(task_log::with_current(async move {
            tokio::select! {
                done = work => Some(done),
                () = too_long => None,
            }
        }))
    }

    /// What another task of this run returned: Airflow's `xcom_pull`. Handles do the same with the compiler's help. What was
    /// skipped, or returned nothing, is an `Option`'s `None`, as it is Python's.
    ///
    /// # Errors
    /// The task returned nothing in this run, and `T` is no `Option`; or something that is not a `T`.
    pub async fn result_of<T: DeserializeOwned>(&self, task: &TaskId) -> TaskResult<T> {
        match self.find_result(task).await? {
            Some(value) => serde_json::from_value(value)
                .with_context(|| format!("the result of the task {task} has another shape")),
            None => serde_json::from_value(Value::Null).ok().with_context(|| {
                let run = self.run_id();
                format!("the task {task} has no result in the run {run}; if that is well, take an Option")
            }),
        }
    }

    pub(crate) async fn find_result(&self, task: &TaskId) -> TaskResult<Option<Value>> {
        self.reads.result_of(task).await
    }

    /// What this instance of a mapped task, or of a task of a mapped group, runs for. Arguments of a mapped function do
    /// the same with the compiler's help.
    ///
    /// # Errors
    /// The task is not mapped, there is no item of its index (any more), or it is not a `T`.
    pub async fn item<T: DeserializeOwned>(&self) -> TaskResult<T> {
        let index = self.facts.map_index;
        let item = self.reads.item().await?;
        let item = item.with_context(|| format!("the task {} has no item of the index {index}", self.task_id()))?;
        serde_json::from_value(item).with_context(|| format!("the item of the index {index} has another shape"))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(out)
    }
}
