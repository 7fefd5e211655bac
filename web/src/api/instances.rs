//! `/taskInstances`: list, get, tries; `/clearTaskInstances`.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
};
use orchestrator::{
    commands::{self, Clear, ClearScope, Origin},
    ids::{DagId, RunId, TaskId},
    state::TaskState,
    store::{
        instances::Clearable,
        pages::{
            Page,
            instances::{self as page, InstanceFilter, InstanceListed},
            runs::{self, RunFilter},
        },
    },
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    body::Body,
    dags,
    error::{ApiError, ApiResult},
    query::{Params, listed},
    runs::ANY,
    wire,
};
use crate::App;

/// A clear without a run is one of all runs; more than these must be done in parts.
const CLEAR_RUNS_MAX: Page = Page { limit: 1_000, offset: 0 };

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

pub(crate) async fn clear(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    const ALLOWED: [&str; 15] = [
        "dry_run",
        "start_date",
        "end_date",
        "only_failed",
        "only_running",
        "reset_dag_runs",
        "task_ids",
        "dag_run_id",
        "include_upstream",
        "include_downstream",
        "include_future",
        "include_past",
        "run_on_latest_version",
        "prevent_running_task",
        "note",
    ];
    let body = Body::read(&headers, &body, &[], &ALLOWED)?;
    let wanted = Wanted::read(&body)?;
    let mut conn = app.pool.acquire().await?;
    let dag_id = dags::find(&mut conn, dag_id).await?.dag_id;
    let mut cleared = Vec::new();
    for run_id in wanted.runs(&mut conn, &dag_id).await? {
        let clear = Clear { dag_id: dag_id.clone(), run_id, tasks: wanted.tasks.clone(), scope: wanted.scope };
        let chosen = if wanted.dry_run {
            commands::preview_clear(&mut conn, &app.graphs, &clear).await?
        } else {
            commands::clear(&mut conn, &app.graphs, &clear, Origin::RestApi).await?
        };
        cleared.extend(now_of(&app, &mut conn, &clear, &chosen).await?);
    }
    if !wanted.dry_run {
        app.wake.everybody();
    }
    let total = i64::try_from(cleared.len()).unwrap_or(i64::MAX);
    Ok(Json(listed("task_instances", cleared, total)))
}

/// What a clear asks for.
struct Wanted {
    dry_run: bool,
    run_id: Option<RunId>,
    tasks: Vec<TaskId>,
    scope: ClearScope,
}

impl Wanted {
    fn read(body: &Body) -> ApiResult<Self> {
        let is_set = |key| matches!(body.value(key), Some(Value::Bool(true)));
        if is_set("only_failed") && is_set("only_running") {
            return Err(cross_field(body, "only_failed and only_running both are set to True"));
        }
        for key in [
            "start_date",
            "end_date",
            "include_future",
            "include_past",
            "run_on_latest_version",
            "prevent_running_task",
        ] {
            if body.value(key).is_some_and(|value| *value != json!(false)) {
                return Err(ApiError::new(
                    StatusCode::NOT_IMPLEMENTED,
                    format!("clearing with {key} is not served yet"),
                ));
            }
        }
        let only_running = body.flag("only_running", false)?;
        Ok(Self {
            dry_run: body.flag("dry_run", true)?,
            run_id: body.text("dag_run_id")?.map(RunId::from),
            tasks: task_ids(body)?,
            scope: ClearScope {
                upstream: body.flag("include_upstream", false)?,
                downstream: body.flag("include_downstream", false)?,
                only_failed: body.flag("only_failed", !only_running)?,
                only_running,
                reset_dag_runs: body.flag("reset_dag_runs", true)?,
            },
        })
    }

    async fn runs(&self, conn: &mut PgConnection, dag: &DagId) -> ApiResult<Vec<RunId>> {
        if let Some(run_id) = &self.run_id {
            if runs::get(conn, dag, run_id).await?.is_none() {
                return Err(ApiError::not_found(format!("Dag Run id {run_id} not found in dag {dag}")));
            }
            return Ok(vec![run_id.clone()]);
        }
        let filter = RunFilter { dag_id: Some(dag.clone()), ..RunFilter::default() };
        let found = runs::list(conn, &filter, CLEAR_RUNS_MAX).await?;
        if found.total > CLEAR_RUNS_MAX.limit {
            let text = format!(
                "the dag has {} runs; clear at most {} at once: name a dag_run_id",
                found.total, CLEAR_RUNS_MAX.limit
            );
            return Err(ApiError::bad_request(text));
        }
        Ok(found.rows.into_iter().map(|run| run.run_id).collect())
    }
}

fn task_ids(body: &Body) -> ApiResult<Vec<TaskId>> {
    let Some(value) = body.value("task_ids") else { return Ok(Vec::new()) };
    let list = value.as_array().ok_or_else(|| {
        ApiError::invalid("list_type", json!(["body", "task_ids"]), "Input should be a valid list", value.clone())
    })?;
    if list.is_empty() {
        return Err(cross_field(body, "task_ids list should have at least 1 element."));
    }
    // A task, or a task with the index of one of its mapped instances.
    let name = |element: &Value| element.as_str().or_else(|| element.get(0)?.as_str()).map(TaskId::from);
    list.iter()
        .enumerate()
        .map(|(at, element)| {
            name(element).ok_or_else(|| {
                let place = json!(["body", "task_ids", at, "str"]);
                ApiError::invalid("string_type", place, "Input should be a valid string", element.clone())
            })
        })
        .collect()
}

fn cross_field(body: &Body, text: &str) -> ApiError {
    ApiError::invalid("value_error", json!(["body"]), format!("Value error, {text}"), body.whole())
}

/// The task instances as they are now: after a clear, cleared.
async fn now_of(app: &App, conn: &mut PgConnection, clear: &Clear, chosen: &[Clearable]) -> ApiResult<Vec<Value>> {
    let filter = InstanceFilter {
        dag_id: Some(clear.dag_id.clone()),
        run_id: Some(clear.run_id.clone()),
        ..InstanceFilter::default()
    };
    let mut rows = page::list(conn, &filter, WHOLE_RUN).await?.rows;
    rows.retain(|row| chosen.iter().any(|instance| instance.instance == row.instance));
    write(app, conn, &rows).await
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
