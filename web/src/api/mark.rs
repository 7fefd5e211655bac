//! PATCH of a task instance, of a task group and of a run: people say how it ended.

use axum::{Extension, Json, body::Bytes, extract::State, http::HeaderMap};
use orchestrator::{
    commands::{self, By, Choice, Mark, Marked, MarkedRun, NamedTask, RunChoice, TaskChoice},
    ids::{DagId, RunId, TaskId},
    store::pages::{
        instances::{self, InstanceColumn, InstanceFilter, InstanceListed},
        runs,
        select::Test,
    },
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    body::{Body, Mask},
    error::{ApiError, ApiResult},
    instances::{OfInstance, WHOLE_RUN, find_all, rows_of, together, write},
    path::Path,
    wire,
};
use crate::App;

/// PATCH of a task instance: its state, its note, or both.
pub(crate) async fn task(
    State(app): State<App>,
    Extension(by): Extension<By>,
    of: OfInstance,
    mask: Mask,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &ALLOWED)?.masked(&mask, &HOW);
    let mut conn = app.pool.acquire().await?;
    let named = Named::instance(&mut conn, of).await?;
    Ok(Json(together(named.change(&app, &mut conn, &body, &by).await?)))
}

/// The same, without doing it.
pub(crate) async fn dry_run(
    State(app): State<App>,
    of: OfInstance,
    mask: Mask,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &ALLOWED)?.masked(&mask, &HOW);
    let mut conn = app.pool.acquire().await?;
    Named::instance(&mut conn, of).await?.preview(&app, &mut conn, &body).await
}

/// PATCH of all that is in a task group.
pub(crate) async fn group(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id, group_id)): Path<(DagId, RunId, TaskId)>,
    mask: Mask,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &ALLOWED)?.masked(&mask, &HOW);
    let mut conn = app.pool.acquire().await?;
    let named = Named::group(&app, &mut conn, dag_id, run_id, &group_id).await?;
    Ok(Json(together(named.change(&app, &mut conn, &body, &by).await?)))
}

/// The same, without doing it.
pub(crate) async fn group_dry_run(
    State(app): State<App>,
    Path((dag_id, run_id, group_id)): Path<(DagId, RunId, TaskId)>,
    mask: Mask,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &ALLOWED)?.masked(&mask, &HOW);
    let mut conn = app.pool.acquire().await?;
    Named::group(&app, &mut conn, dag_id, run_id, &group_id).await?.preview(&app, &mut conn, &body).await
}

pub(crate) const ALLOWED: [&str; 6] =
    ["new_state", "note", "include_upstream", "include_downstream", "include_future", "include_past"];

/// What of it is no field of a task instance, and named by no mask.
const HOW: [&str; 4] = ["include_upstream", "include_downstream", "include_future", "include_past"];

/// The task instances of a run that a PATCH names.
pub(crate) struct Named {
    dag_id: DagId,
    run_id: RunId,
    tasks: Vec<NamedTask>,
    found: Vec<InstanceListed>,
}

impl Named {
    /// One; of a mapped task without an index, all.
    pub(crate) async fn instance(conn: &mut PgConnection, of: OfInstance) -> ApiResult<Self> {
        let found = find_all(conn, &of).await?;
        let OfInstance { dag_id, run_id, task_id: task, map_index } = of;
        let map_index = Some(map_index).filter(|index| *index >= 0);
        Ok(Self { dag_id, run_id, tasks: vec![NamedTask { task, map_index }], found })
    }

    /// All in a group, and in the groups within it.
    async fn group(
        app: &App,
        conn: &mut PgConnection,
        dag_id: DagId,
        run_id: RunId,
        group_id: &TaskId,
    ) -> ApiResult<Self> {
        let run = runs::get(conn, &dag_id, &run_id).await?.ok_or_else(|| gone(&dag_id, &run_id))?;
        let graph = app.graphs.get(conn, run.version).await?;
        if !graph.groups().iter().any(|group| group.group_id == *group_id) {
            return Err(ApiError::not_found(format!("Task group '{group_id}' not found in DAG '{dag_id}'")));
        }
        let within = format!("{group_id}.");
        let of_group = InstanceFilter::of_key(run.run_key);
        let of_group = of_group.with(InstanceColumn::TaskId, Test::StartsWith(within.clone()));
        let found = instances::list(conn, &of_group, WHOLE_RUN).await?.rows;
        let tasks = graph.tasks().iter().map(|task| &task.task_id).filter(|task| task.as_str().starts_with(&within));
        Ok(Self { tasks: tasks.cloned().map(NamedTask::from).collect(), dag_id, run_id, found })
    }

    /// Changes notes, states, or both; what was changed, as it is now.
    pub(crate) async fn change(
        &self,
        app: &App,
        conn: &mut PgConnection,
        body: &Body,
        by: &By,
    ) -> ApiResult<Vec<Value>> {
        let mark = match body.has("note") && body.value("new_state").is_none() {
            true => None,
            false => Some(self.mark(body)?),
        };
        if body.has("note") {
            commands::set_task_note(conn, &self.found, body.note()?.as_deref(), by).await?;
        }
        let Some(mark) = mark else {
            let filter = InstanceFilter::of_run(&self.dag_id, &self.run_id);
            let filter = filter.one_of(InstanceColumn::TaskId, self.tasks.iter().map(|named| &named.task));
            let mut now = instances::list(conn, &filter, WHOLE_RUN).await?.rows;
            now.retain(|row| self.found.iter().any(|named| named.instance == row.instance));
            return write(app, conn, &now).await;
        };
        let changed = commands::mark(conn, &app.graphs, &mark, by).await?;
        app.wake.everybody();
        rows_of(app, conn, &self.dag_id, &changed).await
    }

    async fn preview(&self, app: &App, conn: &mut PgConnection, body: &Body) -> ApiResult {
        let would_change = commands::preview_mark(conn, &app.graphs, &self.mark(body)?).await?;
        Ok(Json(together(rows_of(app, conn, &self.dag_id, &would_change).await?)))
    }

    fn mark(&self, body: &Body) -> ApiResult<Mark> {
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
            run_id: self.run_id.clone(),
            past: body.flag("include_past", false)?,
            future: body.flag("include_future", false)?,
        };
        let tasks = TaskChoice {
            named: self.tasks.clone(),
            upstream: body.flag("include_upstream", false)?,
            downstream: body.flag("include_downstream", false)?,
        };
        Ok(Mark { choice: Choice { dag_id: self.dag_id.clone(), runs, tasks }, state })
    }
}

/// PATCH of a run: its state, its note, or both.
pub(crate) async fn run(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    mask: Mask,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &["state", "note"])?.masked(&mask, &[]);
    let mut conn = app.pool.acquire().await?;
    change_run(&app, &mut conn, &dag_id, &run_id, &body, &by).await?;
    let run = runs::get(&mut conn, &dag_id, &run_id).await?.ok_or_else(|| gone(&dag_id, &run_id))?;
    Ok(Json(wire::run(&run)))
}

/// Changes the state of a run, its note, or both.
pub(crate) async fn change_run(
    app: &App,
    conn: &mut PgConnection,
    dag_id: &DagId,
    run_id: &RunId,
    body: &Body,
    by: &By,
) -> ApiResult<()> {
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
    let note = body.note()?;
    runs::get(conn, dag_id, run_id).await?.ok_or_else(|| gone(dag_id, run_id))?;
    if let Some(state) = state {
        commands::mark_run(conn, &app.graphs, dag_id, run_id, state, by).await?;
        app.wake.everybody();
    }
    if body.has("note") {
        commands::set_note(conn, dag_id, run_id, note.as_deref(), by).await?;
    }
    Ok(())
}

fn gone(dag_id: &DagId, run_id: &RunId) -> ApiError {
    ApiError::not_found(format!("The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"))
}
