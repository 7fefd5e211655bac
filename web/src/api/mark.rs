//! PATCH of a task instance and of a run: people say how it ended.

use axum::{Extension, Json, body::Bytes, extract::State, http::HeaderMap};
use orchestrator::{
    commands::{self, By, Choice, Mark, Marked, MarkedRun, NamedTask, RunChoice, TaskChoice},
    ids::{DagId, RunId},
    store::pages::runs,
};
use serde_json::json;
use sqlx::PgConnection;

use super::{
    body::Body,
    error::{ApiError, ApiResult},
    instances::{OfInstance, again, find_all, now_of},
    path::Path,
    wire,
};
use crate::App;

/// PATCH of a task instance: its state, its note, or both.
pub(crate) async fn task(
    State(app): State<App>,
    Extension(by): Extension<By>,
    of: OfInstance,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &ALLOWED)?;
    let mut conn = app.pool.acquire().await?;
    let mark = match body.has("note") && body.value("new_state").is_none() {
        true => None,
        false => Some(read(&mut conn, of.clone(), &body).await?),
    };
    if body.has("note") {
        let named = find_all(&mut conn, &of).await?;
        commands::set_task_note(&mut conn, &named, body.text("note")?.as_deref(), &by).await?;
    }
    let Some(mark) = mark else { return again(&app, &mut conn, &of).await };
    let changed = commands::mark(&mut conn, &app.graphs, &mark, &by).await?;
    app.wake.everybody();
    now_of(&app, &mut conn, &of.dag_id, &changed).await
}

/// The same, without doing it.
pub(crate) async fn dry_run(State(app): State<App>, of: OfInstance, headers: HeaderMap, body: Bytes) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let dag_id = of.dag_id.clone();
    let mark = read(&mut conn, of, &Body::read(&headers, &body, &[], &ALLOWED)?).await?;
    let would_change = commands::preview_mark(&mut conn, &app.graphs, &mark).await?;
    now_of(&app, &mut conn, &dag_id, &would_change).await
}

const ALLOWED: [&str; 6] =
    ["new_state", "note", "include_upstream", "include_downstream", "include_future", "include_past"];

async fn read(conn: &mut PgConnection, of: OfInstance, body: &Body) -> ApiResult<Mark> {
    find_all(conn, &of).await?;
    let OfInstance { dag_id, run_id, task_id: task, map_index } = of;
    let map_index = Some(map_index).filter(|index| *index >= 0);
    let state = match body.text("new_state")?.as_deref() {
        Some("success") => Marked::Success,
        Some("failed") => Marked::Failed,
        Some("skipped") => Marked::Skipped,
        Some(other) => {
            let text = format!(
                "Value error, '{other}' is not a valid state, only ['failed', 'skipped', 'success'] are allowed"
            );
            return Err(ApiError::invalid("value_error", json!(["body", "new_state"]), text, json!(other)));
        }
        None => {
            let text = "Value error, 'new_state' should not be empty";
            return Err(ApiError::invalid("value_error", json!(["body", "new_state"]), text, json!(null)));
        }
    };
    let runs = RunChoice::Around {
        run_id,
        past: body.flag("include_past", false)?,
        future: body.flag("include_future", false)?,
    };
    let tasks = TaskChoice {
        named: vec![NamedTask { task, map_index }],
        upstream: body.flag("include_upstream", false)?,
        downstream: body.flag("include_downstream", false)?,
    };
    Ok(Mark { choice: Choice { dag_id, runs, tasks }, state })
}

/// PATCH of a run: its state, its note, or both.
pub(crate) async fn run(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &["state", "note"])?;
    let state = match body.text("state")?.as_deref() {
        None => None,
        Some("success") => Some(MarkedRun::Success),
        Some("failed") => Some(MarkedRun::Failed),
        Some("queued") => Some(MarkedRun::Queued),
        Some(other) => {
            let text = "Input should be 'queued', 'success' or 'failed'";
            return Err(ApiError::invalid("enum", json!(["body", "state"]), text, json!(other)));
        }
    };
    let mut conn = app.pool.acquire().await?;
    let gone =
        || ApiError::not_found(format!("The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"));
    runs::get(&mut conn, &dag_id, &run_id).await?.ok_or_else(gone)?;
    if let Some(state) = state {
        commands::mark_run(&mut conn, &app.graphs, &dag_id, &run_id, state, &by).await?;
        app.wake.everybody();
    }
    if body.has("note") {
        commands::set_note(&mut conn, &dag_id, &run_id, body.text("note")?.as_deref(), &by).await?;
    }
    let run = runs::get(&mut conn, &dag_id, &run_id).await?.ok_or_else(gone)?;
    Ok(Json(wire::run(&run)))
}
