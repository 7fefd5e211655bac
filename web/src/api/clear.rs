//! `/clearTaskInstances`, `/clearDagRuns`, and `/clear` of a run.

use axum::{Extension, Json, body::Bytes, extract::State, http::HeaderMap};
use orchestrator::{
    commands::{self, By, Choice, Clear, NamedTask, OnVersion, Only, Refused, RunChoice, Running, TaskChoice},
    ids::{DagId, RunId},
    store::pages::runs,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    body::Body,
    bulk::Resource,
    dags,
    error::{ApiError, ApiResult},
    instances::{all_now, now_of, rows_of, together},
    many::{RunName, Runs},
    path::Path,
    query::listed,
    wire,
};
use crate::App;

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

pub(crate) async fn clear(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &ALLOWED)?;
    let is_dry_run = body.flag("dry_run", true)?;
    let mut conn = app.pool.acquire().await?;
    let dag_id = dags::find(&mut conn, dag_id).await?.dag_id;
    let (clear, note) = (read(&mut conn, &dag_id, &body).await?, body.note()?);
    let chosen = if is_dry_run {
        commands::preview_clear(&mut conn, &app.graphs, &clear).await?
    } else {
        let chosen = commands::clear(&mut conn, &app.graphs, &clear, &by).await?;
        app.wake.everybody();
        if note.is_some() {
            let cleared = all_now(&mut conn, &dag_id, &chosen).await?;
            commands::set_task_note(&mut conn, &cleared, note.as_deref(), &by).await?;
        }
        chosen
    };
    now_of(&app, &mut conn, &dag_id, &chosen).await
}

/// `/clear`: all of a run, or what failed of it.
pub(crate) async fn clear_run(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    const ALLOWED: [&str; 5] = ["dry_run", "only_failed", "only_new", "run_on_latest_version", "note"];
    let body = Body::read(&headers, &body, &[], &ALLOWED)?;
    refuse_only_new(&body)?;
    let note = body.note()?;
    let mut conn = app.pool.acquire().await?;
    let found = runs::get(&mut conn, &dag_id, &run_id).await?;
    found.ok_or_else(|| Refused::NoRun(dag_id.clone(), run_id.clone()))?;
    let clear = whole_run(&dag_id, &run_id, &body)?;
    if body.flag("dry_run", true)? {
        let chosen = commands::preview_clear(&mut conn, &app.graphs, &clear).await?;
        return now_of(&app, &mut conn, &dag_id, &chosen).await;
    }
    commands::clear(&mut conn, &app.graphs, &clear, &by).await?;
    if body.has("note") {
        commands::set_note(&mut conn, &dag_id, &run_id, note.as_deref(), &by).await?;
    }
    app.wake.everybody();
    let run = runs::get(&mut conn, &dag_id, &run_id).await?.ok_or(Refused::NoRun(dag_id, run_id))?;
    Ok(Json(wire::run(&run)))
}

fn whole_run(dag_id: &DagId, run_id: &RunId, body: &Body) -> ApiResult<Clear> {
    let only = if body.flag("only_failed", false)? { Only::Failed } else { Only::All };
    let is_latest = body.value("run_on_latest_version").is_some() && body.flag("run_on_latest_version", false)?;
    let version = if is_latest { OnVersion::Latest } else { OnVersion::Own };
    let choice = Choice { dag_id: dag_id.clone(), runs: RunChoice::one(run_id.clone()), tasks: TaskChoice::default() };
    Ok(Clear { only, version, ..Clear::of(choice) })
}

/// `/clearDagRuns`: several runs, each as [`clear_run`] does it. All of them must be there before one is cleared.
pub(crate) async fn clear_runs(
    State(app): State<App>,
    Extension(by): Extension<By>,
    path: Path<DagId>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    const ALLOWED: [&str; 9] = [
        "dry_run",
        "only_failed",
        "only_new",
        "run_on_latest_version",
        "note",
        "dag_runs",
        "partition_key",
        "partition_date_start",
        "partition_date_end",
    ];
    let body = Body::read(&headers, &body, &[], &ALLOWED)?;
    refuse_only_new(&body)?;
    if ["partition_key", "partition_date_start", "partition_date_end"].iter().any(|key| body.value(key).is_some()) {
        return Err(ApiError::bad_request("there are no partitions here: name the dag_runs"));
    }
    let note = body.note()?;
    let named = body.list("dag_runs")?.iter().map(|run| Runs::key(&path, run)).collect::<ApiResult<Vec<_>>>()?;
    let mut conn = app.pool.acquire().await?;
    for RunName { dag_id, run_id } in &named {
        let found = runs::get(&mut conn, dag_id, run_id).await?;
        found.ok_or_else(|| Refused::NoRun(dag_id.clone(), run_id.clone()))?;
    }
    let (is_dry_run, mut rows) = (body.flag("dry_run", true)?, Vec::new());
    for RunName { dag_id, run_id } in &named {
        let clear = whole_run(dag_id, run_id, &body)?;
        if is_dry_run {
            let chosen = commands::preview_clear(&mut conn, &app.graphs, &clear).await?;
            rows.extend(rows_of(&app, &mut conn, dag_id, &chosen).await?);
            continue;
        }
        commands::clear(&mut conn, &app.graphs, &clear, &by).await?;
        if body.has("note") {
            commands::set_note(&mut conn, dag_id, run_id, note.as_deref(), &by).await?;
        }
        rows.extend(runs::get(&mut conn, dag_id, run_id).await?.map(|run| wire::run(&run)));
    }
    if is_dry_run {
        return Ok(Json(together(rows)));
    }
    app.wake.everybody();
    let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    Ok(Json(listed("dag_runs", rows, total)))
}

fn refuse_only_new(body: &Body) -> ApiResult<()> {
    match body.flag("only_new", false)? {
        true => Err(ApiError::bad_request("only_new is not served: clear takes every task of the run")),
        false => Ok(()),
    }
}

async fn read(conn: &mut PgConnection, dag_id: &DagId, body: &Body) -> ApiResult<Clear> {
    let only_running = body.flag("only_running", false)?;
    let only = match (body.flag("only_failed", !only_running)?, only_running) {
        (true, true) => return Err(cross_field(body, "only_failed and only_running both are set to True")),
        (true, false) => Only::Failed,
        (false, true) => Only::Running,
        (false, false) => Only::All,
    };
    let tasks = TaskChoice {
        named: task_ids(body)?,
        upstream: body.flag("include_upstream", false)?,
        downstream: body.flag("include_downstream", false)?,
    };
    let choice = Choice { dag_id: dag_id.clone(), runs: run_choice(conn, dag_id, body).await?, tasks };
    let version = if body.flag("run_on_latest_version", false)? { OnVersion::Latest } else { OnVersion::Own };
    let running = if body.flag("prevent_running_task", false)? { Running::Refuse } else { Running::Restart };
    Ok(Clear { choice, only, reset_dag_runs: body.flag("reset_dag_runs", true)?, version, running })
}

async fn run_choice(conn: &mut PgConnection, dag_id: &DagId, body: &Body) -> ApiResult<RunChoice> {
    let (start, end) = (body.instant("start_date")?, body.instant("end_date")?);
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        return Err(cross_field(body, "end_date is sooner than start_date"));
    }
    let Some(run_id) = body.text("dag_run_id")?.map(RunId::from) else {
        return Ok(RunChoice::Between { start, end });
    };
    if start.is_some() || end.is_some() {
        return Err(cross_field(body, "Exactly one of dag_run_id or (start_date and end_date) must be provided"));
    }
    if runs::get(conn, dag_id, &run_id).await?.is_none() {
        return Err(ApiError::not_found(format!("Dag Run id {run_id} not found in dag {dag_id}")));
    }
    Ok(RunChoice::Around {
        run_id,
        past: body.flag("include_past", false)?,
        future: body.flag("include_future", false)?,
    })
}

fn task_ids(body: &Body) -> ApiResult<Vec<NamedTask>> {
    if body.value("task_ids").is_none() {
        return Ok(Vec::new());
    }
    let list = body.list("task_ids")?;
    if list.is_empty() {
        return Err(cross_field(body, "task_ids list should have at least 1 element."));
    }
    // A task, or a task with the index of one of its mapped instances.
    let name = |element: &Value| match element.as_str() {
        Some(task) => Some(NamedTask::from(task)),
        None => {
            let map_index = i32::try_from(element.get(1)?.as_i64()?).ok()?;
            Some(NamedTask { task: element.get(0)?.as_str()?.into(), map_index: Some(map_index) })
        }
    };
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
