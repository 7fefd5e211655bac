//! `/dags`: list, get, details, pause, tasks.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use orchestrator::{
    accounts::Sight,
    commands::{self, By, Refused},
    ids::{DagId, TaskId},
    state::RunState,
    store::{
        favorites,
        pages::{
            dags::{self as page, DagColumn, DagFilter, DagListed},
            select::{Direction, Test},
        },
        runs,
    },
};
use serde_json::{Value, json};

use super::{
    body::Body,
    error::{ApiError, ApiResult},
    filters::Filters,
    path::Path,
    query::{self, Params, listed},
    wire,
};
use crate::App;

pub(crate) async fn list(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Extension(by): Extension<By>,
    uri: Uri,
) -> ApiResult<Response> {
    let params = Params::of(&uri)?;
    let mut filter = read(&params)?.seen_by(&sight, DagColumn::DagId);
    let mut conn = app.pool.acquire().await?;
    if let Some(wanted) = params.flag("is_favorite")? {
        filter = filter.favorite(wanted, &favorites::of(&mut conn, by.user.as_deref()).await?);
    }
    let found = page::list(&mut conn, &filter, params.page()?).await?;
    let mut graphs = Vec::with_capacity(found.rows.len());
    for dag in &found.rows {
        graphs.push(app.graphs.get(&mut conn, dag.version).await?);
    }
    let rows: Vec<_> = found.rows.iter().zip(&graphs).map(|(dag, graph)| wire::Dag::of(dag, graph)).collect();
    Ok(query::page_of("dags", &rows, found.total))
}

/// Airflow's names of the built-in timetables (`Timetable.type_name`), each with the kinds of schedules that are one.
const TIMETABLES: [(&str, &[&str]); 7] = [
    ("NullTimetable", &["none"]),
    ("CronTriggerTimetable", &["cron"]),
    ("MultipleCronTriggerTimetable", &["crons"]),
    ("DeltaTriggerTimetable", &["interval"]),
    ("OnceTimetable", &["once"]),
    ("ContinuousTimetable", &["continuous"]),
    ("AssetTriggeredTimetable", &["all_assets", "any_asset"]),
];

fn read(params: &Params) -> ApiResult<DagFilter> {
    let tags = params.all("tags");
    let tags = match params.one("tags_match_mode") {
        _ if tags.is_empty() => None,
        None | Some("any") => Some(Test::HasAny(tags)),
        Some("all") => Some(Test::HasAll(tags)),
        Some(other) => {
            let text = "Input should be 'any' or 'all'";
            return Err(ApiError::invalid("literal_error", json!(["query", "tags_match_mode"]), text, other.into()));
        }
    };
    // Ours have none: they would not have been compiled.
    let has_import_errors = params.flag("has_import_errors")?.filter(|has| *has).map(|_| Test::OneOf(Vec::new()));
    let orders = [
        ("dag_id", DagColumn::DagId),
        ("dag_display_name", DagColumn::DagId),
        ("next_dagrun", DagColumn::NextRun),
        ("state", DagColumn::LastRunState),
        ("last_run_state", DagColumn::LastRunState),
        ("start_date", DagColumn::LastRunStart),
        ("last_run_start_date", DagColumn::LastRunStart),
    ];
    Filters::new(params)
        .pattern("dag_id", DagColumn::DagId)
        .pattern("dag_display_name", DagColumn::DagId)
        .any("owners", DagColumn::Owner)
        .flag("paused", DagColumn::IsPaused)?
        .flag("has_asset_schedule", DagColumn::WaitsForAssets)?
        .known("last_dag_run_state", "state", (&RunState::ALL.map(RunState::as_str), &[]), DagColumn::LastRunState)?
        .known("dag_run_state", "state", (&RunState::ALL.map(RunState::as_str), &[]), DagColumn::LastRunState)?
        .when(DagColumn::Assets, params.one("asset_dependency").map(|name| Test::Contains(name.to_owned())))
        .instants("dag_run_start_date", DagColumn::LastRunStart)?
        .instants("dag_run_end_date", DagColumn::LastRunEnd)?
        .when(DagColumn::Tags, tags)
        .when(DagColumn::DagId, has_import_errors)
        .when(DagColumn::ScheduleKind, timetables(params))
        .all_have("bundle_name", wire::BUNDLE, DagColumn::DagId)
        .none_has(&["bundle_version"], DagColumn::DagId)
        .order(&orders, &[DagColumn::DagId])
}

/// What `timetable_type` asks for, which are names of Airflow's classes.
fn timetables(params: &Params) -> Option<Test> {
    let names = params.all("timetable_type");
    let kind = |name: &String| TIMETABLES.iter().find(|(known, _)| known == name).map(|(_, kinds)| *kinds);
    let kinds = names.iter().filter_map(kind).flatten().map(|kind| (*kind).to_owned());
    (!names.is_empty()).then(|| Test::OneOf(kinds.collect()))
}

pub(crate) async fn get(State(app): State<App>, Path(dag_id): Path<DagId>) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let dag = find(&mut conn, dag_id).await?;
    let graph = app.graphs.get(&mut conn, dag.version).await?;
    Ok(Json(wire::dag(&dag, &graph)))
}

pub(crate) async fn details(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let dag = find(&mut conn, dag_id).await?;
    let graph = app.graphs.get(&mut conn, dag.version).await?;
    let active = runs::count_active(&mut conn, &dag.dag_id).await?;
    let is_favorite = favorites::of(&mut conn, by.user.as_deref()).await?.contains(&dag.dag_id);
    Ok(Json(wire::dag_details(&dag, &graph, active, is_favorite)))
}

pub(crate) async fn patch(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let paused = read_pause(&Params::of(&uri)?, &headers, &body)?;
    let mut conn = app.pool.acquire().await?;
    commands::set_paused(&mut conn, &app.graphs, &dag_id, paused, &by).await.map_err(|refused| {
        match refused {
            // Another text than for GET, as in Airflow.
            Refused::NoDag(dag) => ApiError::not_found(format!("Dag with id: {dag} was not found")),
            other => other.into(),
        }
    })?;
    app.wake.everybody();
    let dag = find(&mut conn, dag_id).await?;
    let graph = app.graphs.get(&mut conn, dag.version).await?;
    Ok(Json(wire::dag(&dag, &graph)))
}

/// Pauses or resumes every DAG of the page that a list of the same parameters would show; none, if no pattern is given.
pub(crate) async fn patch_all(
    State(app): State<App>,
    Extension(by): Extension<By>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let params = Params::of(&uri)?;
    let paused = read_pause(&params, &headers, &body)?;
    let mut filter = read(&params)?;
    if params.one("dag_id_pattern").is_none() && params.one("dag_id_prefix_pattern").is_none() {
        filter = filter.with(DagColumn::DagId, Test::OneOf(Vec::new()));
    }
    let mut conn = app.pool.acquire().await?;
    let found = page::list(&mut conn, &filter, params.page()?).await?;
    let mut rows = Vec::new();
    for mut dag in found.rows {
        commands::set_paused(&mut conn, &app.graphs, &dag.dag_id, paused, &by).await?;
        dag.is_paused = paused;
        rows.push(wire::dag(&dag, &*app.graphs.get(&mut conn, dag.version).await?));
    }
    app.wake.everybody();
    Ok(Json(listed("dags", rows, found.total)))
}

fn read_pause(params: &Params, headers: &HeaderMap, body: &Bytes) -> ApiResult<bool> {
    let body = Body::read(headers, body, &["is_paused"], &["is_paused"])?;
    let mask = params.all("update_mask");
    if !mask.is_empty() && mask != ["is_paused"] {
        return Err(ApiError::bad_request("Only `is_paused` field can be updated through the REST API"));
    }
    body.flag("is_paused", false)
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
) -> ApiResult {
    let deleted = commands::delete_dag(&mut *app.pool.acquire().await?, &dag_id, &by).await;
    deleted.map_err(|refused| match refused {
        Refused::NoDag(dag) => ApiError::not_found(format!("Dag with id: {dag} was not found")),
        other => other.into(),
    })?;
    Ok(Json(json!({ "detail": format!("Dag with id: {dag_id} was deleted") })))
}

/// What tasks are ordered by.
const OF_TASKS: [&str; 7] =
    ["task_id", "task_display_name", "owner", "pool", "queue", "priority_weight", "trigger_rule"];

pub(crate) async fn tasks(State(app): State<App>, Path(dag_id): Path<DagId>, uri: Uri) -> ApiResult {
    let order = Params::of(&uri)?.order(&OF_TASKS.map(|name| (name, name)))?;
    let mut conn = app.pool.acquire().await?;
    let dag = find(&mut conn, dag_id).await?;
    let graph = app.graphs.get(&mut conn, dag.version).await?;
    let mut tasks: Vec<_> = graph.nodes().zip(graph.tasks()).collect();
    tasks.sort_by_key(|(_, task)| &task.task_id);
    let mut rows: Vec<_> = tasks.into_iter().map(|(node, task)| wire::task(&graph, node, task)).collect();
    // A sort keeps what is equal in its order, so the first one wanted comes last.
    for (name, direction) in order.into_iter().rev() {
        rows.sort_by(|one, other| {
            let value = |row: &Value| (row[name].as_i64(), row[name].as_str().map(str::to_owned));
            let order = value(one).cmp(&value(other));
            if direction == Direction::Descending { order.reverse() } else { order }
        });
    }
    let total = rows.len();
    Ok(Json(json!({ "tasks": rows, "total_entries": total })))
}

pub(crate) async fn task(State(app): State<App>, Path((dag_id, task_id)): Path<(DagId, TaskId)>) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let dag = find(&mut conn, dag_id).await?;
    let graph = app.graphs.get(&mut conn, dag.version).await?;
    let node = graph.node(&task_id);
    let found = node.and_then(|node| graph.task(node).map(|task| wire::task(&graph, node, task)));
    found.map(Json).ok_or_else(|| ApiError::not_found(format!("Task with id {task_id} was not found")))
}

/// The DAG, or Airflow's 404.
pub(crate) async fn find(conn: &mut sqlx::PgConnection, dag: DagId) -> ApiResult<DagListed> {
    page::get(conn, &dag).await?.ok_or_else(|| Refused::NoDag(dag).into())
}
