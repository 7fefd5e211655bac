//! `/taskInstances`: list, get, tries.

use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
};
use orchestrator::{
    ids::{DagId, RunId, TaskId},
    state::TaskState,
    store::{
        overrides::Chosen,
        pages::{
            Page,
            instances::{self as page, InstanceFilter, InstanceListed},
            runs,
        },
    },
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    dags,
    error::{ApiError, ApiResult},
    query::{Params, listed},
    runs::ANY,
    wire,
};
use crate::App;

/// All task instances of one run.
const WHOLE_RUN: Page = Page { limit: i64::MAX, offset: 0 };

pub(crate) async fn list(State(app): State<App>, Path((dag_id, run_id)): Path<(DagId, RunId)>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let known = TaskState::ALL.map(|state| (state.as_str(), state));
    let mut filter = InstanceFilter {
        task_id: params.one("task_id").map(TaskId::from),
        states: params.states("state", "state", &known)?,
        ..InstanceFilter::default()
    };
    let mut conn = app.pool.acquire().await?;
    if dag_id.as_str() != ANY {
        filter.dag_id = Some(dags::find(&mut conn, dag_id.clone()).await?.dag_id);
    }
    if run_id.as_str() != ANY {
        if runs::get(&mut conn, &dag_id, &run_id).await?.is_none() {
            let text = format!("DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found");
            return Err(ApiError::not_found(text));
        }
        filter.run_id = Some(run_id);
    }
    let found = page::list(&mut conn, &filter, params.page()?).await?;
    let rows = write(&app, &mut conn, &found.rows).await?;
    Ok(Json(listed("task_instances", rows, found.total)))
}

pub(crate) async fn get(
    State(app): State<App>,
    Path((dag_id, run_id, task_id)): Path<(DagId, RunId, TaskId)>,
) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &dag_id, &run_id, &task_id).await?;
    let graph = app.graphs.get(&mut conn, instance.version).await?;
    Ok(Json(wire::instance(&instance, &graph)))
}

pub(crate) async fn tries(
    State(app): State<App>,
    Path((dag_id, run_id, task_id)): Path<(DagId, RunId, TaskId)>,
) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &dag_id, &run_id, &task_id).await?;
    let graph = app.graphs.get(&mut conn, instance.version).await?;
    let ended = page::tries(&mut conn, instance.instance).await?;
    let is_listed = ended.last().is_some_and(|last| last.try_number == instance.try_number);
    let mut rows: Vec<_> = ended.iter().map(|ended| wire::ended_try(&instance, ended, &graph)).collect();
    if !is_listed {
        rows.push(wire::current_try(&instance, &graph));
    }
    let total = rows.len();
    Ok(Json(json!({ "task_instances": rows, "total_entries": total })))
}

/// What a command was about, as it is now.
pub(crate) async fn now_of(app: &App, conn: &mut PgConnection, dag: &DagId, chosen: &[Chosen]) -> ApiResult {
    let keys: std::collections::HashSet<_> = chosen.iter().map(|instance| instance.instance).collect();
    let mut run_ids: Vec<_> = chosen.iter().map(|instance| &instance.run_id).collect();
    run_ids.dedup();
    let mut written = Vec::with_capacity(chosen.len());
    for run_id in run_ids {
        let filter =
            InstanceFilter { dag_id: Some(dag.clone()), run_id: Some(run_id.clone()), ..InstanceFilter::default() };
        let mut rows = page::list(conn, &filter, WHOLE_RUN).await?.rows;
        rows.retain(|row| keys.contains(&row.instance));
        written.extend(write(app, conn, &rows).await?);
    }
    let total = i64::try_from(written.len()).unwrap_or(i64::MAX);
    Ok(Json(listed("task_instances", written, total)))
}

async fn write(app: &App, conn: &mut PgConnection, rows: &[InstanceListed]) -> ApiResult<Vec<Value>> {
    let mut written = Vec::with_capacity(rows.len());
    for row in rows {
        written.push(wire::instance(row, &*app.graphs.get(conn, row.version).await?));
    }
    Ok(written)
}

/// The task instance, or Airflow's 404.
pub(crate) async fn find(
    conn: &mut PgConnection,
    dag: &DagId,
    run: &RunId,
    task: &TaskId,
) -> ApiResult<InstanceListed> {
    page::get(conn, dag, run, task).await?.ok_or_else(|| {
        ApiError::not_found(format!(
            "The Task Instance with dag_id: `{dag}`, run_id: `{run}` and task_id: `{task}` was not found"
        ))
    })
}
