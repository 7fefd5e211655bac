//! What a try reads from Postgres: results of other tasks, variables, connections.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;

use crate::{
    context::Reads,
    dag::{Graph, Mapped, Over},
    ids::{DagId, Node, RunKey, TaskId},
    lookup::{self, Connection},
    secrets::Keys,
    state::TaskState,
    store::{
        self,
        assets::{self, AssetEvent},
        rechecks, runs, signals, xcom,
    },
};

/// What a try may read: the results of the other tasks of its run.
pub(super) struct ReadsPostgres {
    pub(super) pool: PgPool,
    pub(super) run: RunKey,
    /// Who reads.
    pub(super) node: Node,
    pub(super) map_index: i32,
    pub(super) graph: Option<Arc<Graph>>,
    pub(super) keys: Keys,
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

/// How long to wait when the database is away while a task wants its input.
const READ_AGAIN: Duration = Duration::from_millis(500);

impl ReadsPostgres {
    async fn read(&self, wanted: &Wanted<'_>) -> sqlx::Result<Option<Value>> {
        let conn = &mut *self.pool.acquire().await?;
        match wanted {
            Wanted::One(task, map_index) => xcom::return_value(conn, self.run, task, *map_index).await,
            Wanted::All(task) => xcom::return_values(conn, self.run, task).await.map(Some),
            Wanted::Item(task) => xcom::item(conn, self.run, task, self.map_index).await,
            Wanted::Nth(task) => xcom::nth_return_value(conn, self.run, task, self.map_index).await,
        }
    }

    /// A database that is away is no fault of the task: it waits, until it has the value or is stopped.
    async fn wait_for(&self, wanted: Wanted<'_>) -> anyhow::Result<Option<Value>> {
        loop {
            match self.read(&wanted).await {
                Err(error) if store::is_transient(&error) => tokio::time::sleep(READ_AGAIN).await,
                result => return Ok(result?),
            }
        }
    }
}

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
        lookup::variable(&mut *self.pool.acquire().await?, &self.keys, key).await
    }

    async fn asset_events(&self) -> anyhow::Result<Vec<AssetEvent>> {
        Ok(assets::events_of_run(&mut *self.pool.acquire().await?, self.run).await?)
    }

    async fn data_interval(&self) -> anyhow::Result<Option<(DateTime<Utc>, DateTime<Utc>)>> {
        Ok(runs::data_interval(&mut *self.pool.acquire().await?, self.run).await?)
    }

    async fn signal(&self, key: &str) -> anyhow::Result<Option<Value>> {
        Ok(signals::get(&mut *self.pool.acquire().await?, key).await?)
    }

    async fn states(&self, dag: &DagId, task: Option<&TaskId>, date: DateTime<Utc>) -> anyhow::Result<Vec<TaskState>> {
        Ok(rechecks::states_at(&mut *self.pool.acquire().await?, dag, task, date).await?)
    }

    async fn connection(&self, conn_id: &str) -> anyhow::Result<Option<Connection>> {
        lookup::connection(&mut *self.pool.acquire().await?, &self.keys, conn_id).await
    }
}
