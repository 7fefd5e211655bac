//! What a try reads from Postgres: results of other tasks, variables, connections.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Semaphore;

use crate::{
    context::Reads,
    dag::{Graph, Mapped, Over},
    ids::{DagId, Node, RunId, RunKey, TaskId},
    lookup::{self, Connection},
    overflow::{Overflow, Stored},
    secrets::Keys,
    state::{RunState, TaskState},
    store::{
        self,
        assets::{self, AssetEvent},
        rechecks,
        run_dates::{self, RunDates},
        runs, signals, xcom,
    },
};

/// What a try may read: the results of the other tasks of its run.
pub(super) struct ReadsPostgres {
    pub(super) pool: PgPool,
    pub(super) run: RunKey,
    /// The day of its history.
    pub(super) day: NaiveDate,
    /// Who reads.
    pub(super) node: Node,
    pub(super) map_index: i32,
    pub(super) graph: Option<Arc<Graph>>,
    pub(super) keys: Keys,
    pub(super) overflow: Option<Arc<dyn Overflow>>,
    pub(super) lists: Arc<Semaphore>,
}

/// What is read.
enum Wanted<'t> {
    /// What one task instance returned.
    One(&'t TaskId, i32),
    /// What all instances of a mapped task returned.
    All(&'t TaskId),
    /// One item of the list that a task returned.
    Item(&'t TaskId),
    /// What one of the instances of a mapped task returned, of those that returned something.
    Nth(&'t TaskId),
}

/// How long to wait when the database is away while a task wants to know something.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// A database that is away is no fault of the task: it waits, until it has the answer or is stopped.
macro_rules! patiently {
    ($reads:ident, |$conn:ident| $read:expr) => {
        loop {
            let answer: anyhow::Result<_> = async {
                let $conn = &mut *$reads.pool.acquire().await?;
                let answer = $read.await?;
                Ok(answer)
            }
            .await;
            match answer {
                Err(error) if error.downcast_ref().is_some_and(store::is_transient) => {
                    tokio::time::sleep(READ_AGAIN).await;
                }
                answer => break answer,
            }
        }
    };
}

impl ReadsPostgres {
    async fn read(&self, conn: &mut PgConnection, wanted: &Wanted<'_>) -> sqlx::Result<Vec<Stored>> {
        let found = match wanted {
            Wanted::One(task, map_index) => xcom::return_value(conn, self.run, self.day, task, *map_index).await?,
            Wanted::All(task) => return xcom::return_values(conn, self.run, self.day, task).await,
            Wanted::Item(task) => xcom::item(conn, self.run, self.day, task, self.map_index).await?,
            Wanted::Nth(task) => xcom::nth_return_value(conn, self.run, self.day, task, self.map_index).await?,
        };
        Ok(found.into_iter().collect())
    }

    async fn wait_for(&self, wanted: Wanted<'_>) -> anyhow::Result<Option<Value>> {
        let found = patiently!(self, |conn| self.read(conn, &wanted))?;
        let mut values = Vec::with_capacity(found.len());
        for result in found {
            values.push(match (result, &wanted) {
                (Stored::Inline(value), _) => value,
                (Stored::Object { object, .. }, Wanted::Item(_)) => {
                    let _one_at_a_time = self.lists.acquire().await?;
                    let Some(item) = self.index_of(self.fetch(&object).await?) else { return Ok(None) };
                    item
                }
                (Stored::Object { object, .. }, _) => self.fetch(&object).await?,
            });
        }
        Ok(match wanted {
            Wanted::All(_) => Some(Value::Array(values)),
            _ => values.pop(),
        })
    }

    fn index_of(&self, list: Value) -> Option<Value> {
        let Value::Array(mut items) = list else { return None };
        let index = usize::try_from(self.map_index).ok().filter(|index| *index < items.len())?;
        Some(items.swap_remove(index))
    }

    async fn fetch(&self, object: &str) -> anyhow::Result<Value> {
        let overflow = self.overflow.as_ref();
        let overflow = overflow.with_context(|| format!("the result is in the bucket, as {object}: {NO_BUCKET}"))?;
        let json = overflow.get(object).await?;
        let json = json.with_context(|| format!("the result was kept as {object}, which is not in the bucket (any more): clear the task that returned it"))?;
        serde_json::from_slice(&json).with_context(|| format!("the object {object} is not JSON"))
    }
}

/// What to do about a bucket that is not named.
pub(super) const NO_BUCKET: &str = "this worker has no bucket (STREAMCOMMERCE_BUCKET)";

#[async_trait]
impl Reads for ReadsPostgres {
    async fn result_of(&self, task: &TaskId) -> anyhow::Result<Option<Value>> {
        let of = self.graph.as_ref().and_then(|graph| graph.node(task).map(|node| (graph, node)));
        let wanted = match of {
            Some((graph, node)) if graph.share_lanes(self.node, node) => Wanted::One(task, self.map_index),
            Some((graph, node)) if graph.mapped(node).is_some() => Wanted::All(task),
            _ => Wanted::One(task, -1),
        };
        self.wait_for(wanted).await
    }

    async fn item(&self) -> anyhow::Result<Option<Value>> {
        let Some(graph) = &self.graph else { return Ok(None) };
        let Some(mapped) = graph.mapped(self.node) else { return Ok(None) };
        match graph.over(mapped) {
            Some(Over::Values(values)) => {
                Ok(usize::try_from(self.map_index).ok().and_then(|index| values.get(index)).cloned())
            }
            Some(Over::Result(source)) => {
                let Some(task) = graph.task(*source) else { return Ok(None) };
                match graph.mapped(*source) {
                    Some(Mapped::Task(_) | Mapped::Group(_)) => self.wait_for(Wanted::Nth(&task.task_id)).await,
                    None => self.wait_for(Wanted::Item(&task.task_id)).await,
                }
            }
            None => Ok(None),
        }
    }

    async fn variable(&self, key: &str) -> anyhow::Result<Option<String>> {
        patiently!(self, |conn| lookup::variable(conn, &self.keys, key))
    }

    async fn asset_events(&self) -> anyhow::Result<Vec<AssetEvent>> {
        patiently!(self, |conn| assets::events_of_run(conn, self.run))
    }

    async fn run_dates(&self) -> anyhow::Result<Option<RunDates>> {
        patiently!(self, |conn| run_dates::of(conn, self.run))
    }

    async fn run_dates_of(&self, dag: &DagId, run: &RunId) -> anyhow::Result<Option<RunDates>> {
        patiently!(self, |conn| run_dates::by_id(conn, dag, run))
    }

    async fn previous_success(&self) -> anyhow::Result<Option<RunDates>> {
        patiently!(self, |conn| run_dates::of_previous_success(conn, self.run))
    }

    async fn signal(&self, key: &str) -> anyhow::Result<Option<Value>> {
        patiently!(self, |conn| signals::get(conn, key))
    }

    async fn states(&self, dag: &DagId, task: &TaskId, date: DateTime<Utc>) -> anyhow::Result<Vec<TaskState>> {
        patiently!(self, |conn| rechecks::states_at(conn, dag, task, date))
    }

    async fn run_state(&self, dag: &DagId, date: DateTime<Utc>) -> anyhow::Result<Option<RunState>> {
        patiently!(self, |conn| runs::state_at(conn, dag, date))
    }

    async fn connection(&self, conn_id: &str) -> anyhow::Result<Option<Connection>> {
        patiently!(self, |conn| lookup::connection(conn, &self.keys, conn_id))
    }
}
