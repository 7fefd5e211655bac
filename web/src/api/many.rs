//! `PATCH` of many runs and of many task instances.

use std::fmt;

use axum::http::StatusCode;
use orchestrator::{
    commands::{self, By},
    ids::{DagId, RunId, TaskId},
    store::pages::runs,
};
use serde_json::Value;

use super::{
    body::Body,
    bulk::{self, Resource},
    error::{ApiError, ApiResult},
    instances::{self, OfInstance},
    mark::{self, Named},
    path::Path,
    runs::ANY,
};
use crate::App;

/// Of which DAG an entity is. What somebody may do was asked of the DAG in the path, so it is that one, unless the path
/// names none.
fn dag_of(path: &DagId, entity: &Value) -> ApiResult<DagId> {
    match (path.as_str(), entity["dag_id"].as_str()) {
        (ANY, None | Some(ANY)) => {
            Err(bulk::unfit("entities", "each entity should name its dag_id, or the path should", entity))
        }
        (ANY, Some(dag)) => Ok(dag.into()),
        (path, None) => Ok(path.into()),
        (path, Some(dag)) if dag == path => Ok(path.into()),
        (path, Some(dag)) => {
            let text = format!("the dag_id {dag} is not the {path} of the path, which may be ~ for any");
            Err(bulk::unfit("entities", &text, entity))
        }
    }
}

fn not_supported(text: &str) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// Runs.
pub(crate) struct Runs;

/// What tells two runs apart.
#[derive(Clone)]
pub(crate) struct RunName {
    pub(crate) dag_id: DagId,
    pub(crate) run_id: RunId,
}

impl fmt::Display for RunName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.dag_id, self.run_id)
    }
}

impl Resource for Runs {
    type Scope = Path<DagId>;
    type Key = RunName;
    const PLURAL: &'static str = "DagRuns";
    const KEY: &'static str = "identifier";
    const ALWAYS: &'static [&'static str] = &["dag_run_id", "dag_id"];

    fn fields() -> (&'static [&'static str], &'static [&'static str]) {
        (&["dag_run_id"], &["dag_run_id", "dag_id", "state", "note"])
    }

    fn key(Path(path): &Path<DagId>, entity: &Value) -> ApiResult<RunName> {
        Ok(RunName { dag_id: dag_of(path, entity)?, run_id: bulk::name(entity, "dag_run_id")?.into() })
    }

    async fn find(app: &App, key: &RunName) -> ApiResult<Vec<RunName>> {
        let found = runs::get(&mut *app.pool.acquire().await?, &key.dag_id, &key.run_id).await?;
        Ok(found.map(|_| key.clone()).into_iter().collect())
    }

    async fn create(_: &App, _: &By, _: Body) -> ApiResult<()> {
        Err(not_supported("Dag Runs bulk create is not supported. Use the trigger Dag Run endpoint instead."))
    }

    async fn update(app: &App, by: &By, key: &RunName, entity: Body) -> ApiResult<()> {
        mark::change_run(app, &mut *app.pool.acquire().await?, &key.dag_id, &key.run_id, &entity.with_values(), by)
            .await
    }

    async fn delete(app: &App, by: &By, key: &RunName) -> ApiResult<()> {
        Ok(commands::delete_run(&mut *app.pool.acquire().await?, &key.dag_id, &key.run_id, by).await?)
    }
}

/// Task instances.
pub(crate) struct Instances;

/// What tells two task instances apart; of a mapped one without an index, what they have in common.
#[derive(Clone)]
pub(crate) struct InstanceName(OfInstance);

impl fmt::Display for InstanceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OfInstance { dag_id, run_id, task_id, map_index } = &self.0;
        write!(out, "{dag_id}.{run_id}.{task_id}[{map_index}]")
    }
}

/// What of an entity says which task instance it is.
const NAMES: [&str; 4] = ["task_id", "map_index", "dag_id", "dag_run_id"];

impl Resource for Instances {
    type Scope = Path<(DagId, RunId)>;
    type Key = InstanceName;
    const PLURAL: &'static str = "task instances";
    const KEY: &'static str = "identifier";
    const ALWAYS: &'static [&'static str] = &[
        "task_id",
        "map_index",
        "dag_id",
        "dag_run_id",
        "include_upstream",
        "include_downstream",
        "include_future",
        "include_past",
    ];

    fn fields() -> (&'static [&'static str], &'static [&'static str]) {
        const ALLOWED: [&str; 10] = {
            let ([a, b, c, d], [e, f, g, h, i, j]) = (NAMES, mark::ALLOWED);
            [a, b, c, d, e, f, g, h, i, j]
        };
        (&["task_id"], &ALLOWED)
    }

    fn key(Path((dag, run)): &Path<(DagId, RunId)>, entity: &Value) -> ApiResult<InstanceName> {
        let dag_id = dag_of(dag, entity)?;
        let run_id = entity["dag_run_id"].as_str().map_or_else(|| run.clone(), RunId::from);
        if run_id.as_str() == ANY || (run.as_str() != ANY && run_id != *run) {
            let text = "each entity should be of the run in the path, or name its own where the path says ~";
            return Err(bulk::unfit("entities", text, entity));
        }
        let task_id = TaskId::from(bulk::name(entity, "task_id")?);
        let map_index = match &entity["map_index"] {
            Value::Null => -1,
            index => index
                .as_i64()
                .and_then(|index| i32::try_from(index).ok())
                .ok_or_else(|| bulk::unfit("entities", "map_index should be a valid integer", entity))?,
        };
        Ok(InstanceName(OfInstance { dag_id, run_id, task_id, map_index }))
    }

    async fn find(app: &App, InstanceName(of): &InstanceName) -> ApiResult<Vec<InstanceName>> {
        let found = instances::find_any(&mut *app.pool.acquire().await?, of).await?;
        let name = |map_index| InstanceName(OfInstance { map_index, ..of.clone() });
        Ok(found.into_iter().map(|row| name(row.map_index)).collect())
    }

    async fn create(_: &App, _: &By, _: Body) -> ApiResult<()> {
        Err(not_supported("Task instances bulk create is not supported"))
    }

    async fn update(app: &App, by: &By, InstanceName(of): &InstanceName, entity: Body) -> ApiResult<()> {
        let mut conn = app.pool.acquire().await?;
        Named::instance(&mut conn, of.clone()).await?.change(app, &mut conn, &entity.with_values(), by).await?;
        Ok(())
    }

    /// A run without some of its tasks could not be told from its graph.
    async fn delete(_: &App, _: &By, _: &InstanceName) -> ApiResult<()> {
        Err(not_supported("Task instances bulk delete is not supported: clear them, or delete the run"))
    }
}
