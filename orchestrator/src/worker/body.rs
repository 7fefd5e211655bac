//! Running the body of an attempt, in this process.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::reads::ReadsPostgres;
use crate::{
    context::{Context, Facts},
    dag::{Registry, Returned},
    engine::Graphs,
    overflow::Overflow,
    secrets::Keys,
    store::instances::Claim,
    task_log::{self, LogSink},
};

/// What a body needs besides its claim.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where results of other tasks are read.
    pub pool: PgPool,
    /// The bodies.
    pub registry: Arc<Registry>,
    /// The graphs of the versions in use.
    pub graphs: Graphs,
    /// What opens variables and connections.
    pub keys: Keys,
    /// Where results are that are too big for the database.
    pub overflow: Option<Arc<dyn Overflow>>,
    /// Who may hold a list of which it takes one item: a mapped task must not hold as many copies as the worker has
    /// slots.
    pub lists: Arc<Semaphore>,
    /// Ends the attempt before its time.
    pub cancelled: CancellationToken,
    /// What goes on after the attempt was stopped, and must end before that is told.
    pub endings: TaskTracker,
}

impl Setting {
    /// Stops what the body has left behind, and waits until nothing of the attempt goes on any more.
    pub(super) async fn at_rest(&self) {
        self.cancelled.cancel();
        self.endings.close();
        self.endings.wait().await;
    }
}

/// How a body ended: with what it returned, or not.
pub(super) type End = Result<Returned, Failure>;

/// Why a body returned nothing.
pub(super) enum Failure {
    Error(anyhow::Error),
    Panicked(String),
    TimedOut(Duration),
    Cancelled,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

/// Runs it to its end. The graph of the run's version is known.
pub(super) async fn run(setting: &Setting, claim: &Claim, sink: &LogSink) -> End {
    let Some(body) = setting.registry.get(&claim.dag_id).and_then(|dag| dag.body(&claim.task_id)) else {
        let missing = format!("this binary has no task {} in the dag {}", claim.task_id, claim.dag_id);
        return Err(anyhow::anyhow!(missing).into());
    };
    let context = context(setting, claim);
    // Made where it is polled: a closure may panic before it has made its future.
    let body = async { Ok(body(context).await?) };
    task_log::scope(sink.clone(), caught(body)).await
}

/// A panic on the way, also of what is dropped there, is a failure.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let panicked = |panic: Box<dyn Any + Send>| Err(Failure::Panicked(panic_message(&*panic)));
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
}

fn context(setting: &Setting, claim: &Claim) -> Context {
    let graph = setting.graphs.known(claim.version);
    let facts = Facts {
        dag_id: claim.dag_id.clone(),
        run_id: claim.run_id.clone(),
        task_id: claim.task_id.clone(),
        try_number: u32::try_from(claim.try_number).unwrap_or(1),
        map_index: claim.map_index,
        logical_date: claim.logical_date,
        conf: claim.conf.clone(),
        params: graph
            .as_ref()
            .and_then(|graph| graph.params())
            .map_or(Value::Null, |params| params.with_conf(&claim.conf)),
    };
    let reads = ReadsPostgres {
        pool: setting.pool.clone(),
        run: claim.run_key,
        day: claim.run_day,
        node: claim.node,
        map_index: claim.map_index,
        graph,
        keys: setting.keys.clone(),
        overflow: setting.overflow.clone(),
        lists: Arc::clone(&setting.lists),
    };
    Context::new(facts, Arc::new(reads), setting.cancelled.clone(), setting.endings.clone())
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
