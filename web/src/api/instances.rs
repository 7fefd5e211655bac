//! `/taskInstances`: list, get, tries.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{FromRequestParts, State},
    http::{HeaderMap, Uri, request},
    response::Response,
};
use orchestrator::{
    accounts::Sight,
    ids::{DagId, RunId, RunKey, TaskId},
    state::TaskState,
    store::{
        self,
        overrides::Chosen,
        pages::{
            Page,
            instances::{self as page, InstanceColumn, InstanceFilter, InstanceListed},
            select::{Comparison, Test},
        },
        runs,
    },
    told::Kind,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::{
    cursor::Found,
    dags,
    error::{ApiError, ApiResult},
    filters::{Filters, batch, only_any, with_ranges},
    path::Path,
    query::{Params, listed},
    runs::ANY,
    wire,
};
use crate::{App, openapi::unserved, pages::waits};

/// Whether there are any.
const ONE: Page = Page { limit: 1, offset: 0 };

/// All task instances of one run.
pub(crate) const WHOLE_RUN: Page = Page { limit: i64::MAX, offset: 0 };

pub(crate) async fn list(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    uri: Uri,
) -> ApiResult<Response> {
    let params = Params::of(&uri)?;
    let mut filter = read(&params)?.seen_by(&sight, InstanceColumn::DagId);
    let mut conn = app.pool.acquire().await?;
    filter = match (dag_id.as_str(), run_id.as_str()) {
        (ANY, ANY) => filter,
        (_, ANY) => filter.only(InstanceColumn::DagId, dags::find(&mut conn, dag_id).await?.dag_id),
        _ => filter.only(InstanceColumn::RunKey, find_run(&mut conn, dag_id, run_id).await?),
    };
    let found = match params.turn()? {
        Some(turn) => page::turn(&mut conn, &filter, turn, params.page()?.limit).await?.into(),
        None => page::list(&mut conn, &filter, params.page()?).await?.into(),
    };
    page_of(&app, &mut conn, &found).await
}

async fn find_run(conn: &mut PgConnection, dag_id: DagId, run_id: RunId) -> ApiResult<RunKey> {
    if let Some(run) = runs::key(conn, &dag_id, &run_id).await? {
        return Ok(run);
    }
    let text = format!("DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found");
    match dag_id.as_str() {
        ANY => {}
        _ => drop(dags::find(conn, dag_id).await?),
    }
    Err(ApiError::not_found(text))
}

/// The same as a POST, for conditions that are longer than a path may be.
pub(crate) async fn list_batch(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<Response> {
    for (key, text) in [("dag_id", dag_id.as_str()), ("dag_run_id", run_id.as_str())] {
        if text != ANY {
            return Err(only_any(key, text));
        }
    }
    let names = with_ranges(
        &["run_after", "logical_date", "start_date", "end_date", "duration"],
        &[
            ("dag_ids", "dag_id"),
            ("dag_run_ids", "run_id"),
            ("task_ids", "task_id"),
            ("state", "state"),
            ("pool", "pool"),
            ("queue", "queue"),
            ("executor", "executor"),
            ("order_by", "order_by"),
        ],
    );
    let params = batch(&headers, &body, &names)?;
    let filter = read(&params)?.seen_by(&sight, InstanceColumn::DagId);
    let mut conn = app.pool.acquire().await?;
    let found = page::list(&mut conn, &filter, params.page()?).await?;
    page_of(&app, &mut conn, &found.into()).await
}

/// What `order_by` knows.
const ORDERS: [(&str, InstanceColumn); 12] = [
    ("id", InstanceColumn::Key),
    ("state", InstanceColumn::State),
    ("duration", InstanceColumn::Duration),
    ("start_date", InstanceColumn::StartDate),
    ("end_date", InstanceColumn::EndDate),
    ("map_index", InstanceColumn::MapIndex),
    ("rendered_map_index", InstanceColumn::MapIndex),
    ("try_number", InstanceColumn::TryNumber),
    ("logical_date", InstanceColumn::LogicalDate),
    ("run_after", InstanceColumn::RunAfter),
    ("data_interval_start", InstanceColumn::DataIntervalStart),
    ("data_interval_end", InstanceColumn::DataIntervalEnd),
];

/// What has a range of instants.
const INSTANTS: [(&str, InstanceColumn); 4] = [
    ("run_after", InstanceColumn::RunAfter),
    ("logical_date", InstanceColumn::LogicalDate),
    ("start_date", InstanceColumn::StartDate),
    ("end_date", InstanceColumn::EndDate),
];

fn read(params: &Params) -> ApiResult<InstanceFilter> {
    // The tasks of a group have its name in front of theirs.
    let in_group = params.one("task_group_id").map(|group| Test::StartsWith(format!("{group}.")));
    Filters::new(params)
        .any("dag_id", InstanceColumn::DagId)
        .any("run_id", InstanceColumn::RunId)
        .any("task_id", InstanceColumn::TaskId)
        .any("pool", InstanceColumn::Pool)
        .any("queue", InstanceColumn::Queue)
        .known("state", "state", (&TaskState::ALL.map(TaskState::as_str), &["awaiting_input"]), InstanceColumn::State)?
        .integers("map_index", InstanceColumn::MapIndex)?
        .integers("try_number", InstanceColumn::TryNumber)?
        .integers("version_number", InstanceColumn::Version)?
        .pattern("task_display_name", InstanceColumn::TaskId)
        .pattern("dag_id", InstanceColumn::DagId)
        .pattern("run_id", InstanceColumn::RunId)
        .pattern("pool_name", InstanceColumn::Pool)
        .pattern("queue_name", InstanceColumn::Queue)
        .when(InstanceColumn::TaskId, in_group)
        .all_instants(&INSTANTS)?
        .numbers("duration", InstanceColumn::Duration)?
        .pattern("rendered_map_index", InstanceColumn::RenderedMapIndex)
        .none_has(&["executor"], InstanceColumn::Key)
        .unserved(&unserved::INSTANCES)?
        .order(&ORDERS, &[])
}

pub(crate) async fn get(State(app): State<App>, of: OfInstance) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &of).await?;
    let graph = app.graphs.get(&mut conn, instance.version).await?;
    let mut written = json!(wire::Instance::of(&instance, &graph));
    written["rendered_fields"] = told(&mut conn, &instance, Kind::Rendered).await?.into();
    Ok(Json(written))
}

/// Where more of its latest try is: Airflow's operator links.
pub(crate) async fn extra_links(State(app): State<App>, of: OfInstance) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &of).await?;
    let links = told(&mut conn, &instance, Kind::Link).await?;
    Ok(Json(json!({ "total_entries": links.len(), "extra_links": links })))
}

async fn told(conn: &mut PgConnection, of: &InstanceListed, kind: Kind) -> sqlx::Result<Map<String, Value>> {
    let told = store::logs::told_of_try(conn, of.instance, of.try_number).await?;
    let told = told.into_iter().filter(|(of, _)| *of == kind);
    Ok(told.map(|(_, told)| (told.name, told.value.into())).collect())
}

/// What it waits for: none that runs or has ended waits for anything.
pub(crate) async fn dependencies(State(app): State<App>, of: OfInstance) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &of).await?;
    let graph = app.graphs.get(&mut conn, instance.version).await?;
    let why = waits::of_instance(&mut conn, &instance, &graph).await?;
    let rows = why.map(|why| json!({ "name": why.dependency, "reason": why.spoken() }));
    Ok(Json(json!({ "dependencies": rows.into_iter().collect::<Vec<_>>() })))
}

/// The instances of a mapped task.
pub(crate) async fn list_mapped(
    State(app): State<App>,
    Path((dag_id, run_id, task_id)): Path<(DagId, RunId, TaskId)>,
    uri: Uri,
) -> ApiResult<Response> {
    let params = Params::of(&uri)?;
    let (filter, listed_page) = (read(&params)?, params.page()?);
    let mut conn = app.pool.acquire().await?;
    let of_task = InstanceFilter::of_run(&dag_id, &run_id).only(InstanceColumn::TaskId, &task_id);
    let Some(any) = page::list(&mut conn, &of_task, ONE).await?.rows.pop() else {
        return Err(ApiError::not_found(format!("Task id {task_id} not found")));
    };
    if app.graphs.get(&mut conn, any.version).await?.mapped(any.node).is_none() {
        return Err(ApiError::not_found(format!("Task id {task_id} is not mapped")));
    }
    let filter = filter.only(InstanceColumn::DagId, dag_id).only(InstanceColumn::RunId, run_id);
    let filter = filter.only(InstanceColumn::TaskId, task_id);
    let filter = filter.with(InstanceColumn::MapIndex, Test::Number(Comparison::AtLeast, 0.0));
    let found = page::list(&mut conn, &filter, listed_page).await?;
    page_of(&app, &mut conn, &found.into()).await
}

pub(crate) async fn tries(State(app): State<App>, of: OfInstance) -> ApiResult {
    let rows = written_tries(&app, &of).await?;
    let total = rows.len();
    Ok(Json(json!({ "task_instances": rows, "total_entries": total })))
}

/// The last part of the path.
#[derive(Debug, Deserialize)]
pub(crate) struct TryNumber {
    try_number: i32,
}

/// One of the tries.
pub(crate) async fn one_try(
    State(app): State<App>,
    Path(TryNumber { try_number }): Path<TryNumber>,
    of: OfInstance,
) -> ApiResult {
    let found = written_tries(&app, &of).await?.into_iter().rev().find(|row| row["try_number"] == try_number);
    found.map(Json).ok_or_else(|| {
        let OfInstance { dag_id, run_id, task_id, map_index } = of;
        ApiError::not_found(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}`, try_number: \
             `{try_number}` and map_index: `{map_index}` was not found"
        ))
    })
}

async fn written_tries(app: &App, of: &OfInstance) -> ApiResult<Vec<Value>> {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, of).await?;
    let graph = app.graphs.get(&mut conn, instance.version).await?;
    let ended = page::tries(&mut conn, instance.instance).await?;
    let is_listed = ended.last().is_some_and(|last| last.try_number == instance.try_number);
    let mut rows: Vec<_> = ended.iter().map(|ended| json!(wire::Try::ended(&instance, ended, &graph))).collect();
    if !is_listed {
        rows.push(json!(wire::Try::now(&instance, &graph)));
    }
    Ok(rows)
}

/// The list of what a command was about, as it is now.
pub(crate) async fn now_of(app: &App, conn: &mut PgConnection, dag: &DagId, chosen: &[Chosen]) -> ApiResult {
    Ok(Json(together(rows_of(app, conn, dag, chosen).await?)))
}

/// Task instances as a list that is all there is.
pub(crate) fn together(rows: Vec<Value>) -> Value {
    let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    listed("task_instances", rows, total)
}

/// The rows of what a command was about, as it is now.
pub(crate) async fn rows_of(
    app: &App,
    conn: &mut PgConnection,
    dag: &DagId,
    chosen: &[Chosen],
) -> ApiResult<Vec<Value>> {
    let now = all_now(conn, dag, chosen).await?;
    write(app, conn, &now).await
}

/// What a command was about, as it is now.
pub(crate) async fn all_now(conn: &mut PgConnection, dag: &DagId, chosen: &[Chosen]) -> ApiResult<Vec<InstanceListed>> {
    let keys: std::collections::HashSet<_> = chosen.iter().map(|instance| instance.instance).collect();
    let mut run_ids: Vec<_> = chosen.iter().map(|instance| &instance.run_id).collect();
    run_ids.dedup();
    let mut now = Vec::with_capacity(chosen.len());
    for run_id in run_ids {
        let filter = InstanceFilter::of_run(dag, run_id);
        let rows = page::list(conn, &filter, WHOLE_RUN).await?.rows;
        now.extend(rows.into_iter().filter(|row| keys.contains(&row.instance)));
    }
    Ok(now)
}

/// A page of a list, written as it goes.
async fn page_of(app: &App, conn: &mut PgConnection, found: &Found<InstanceListed>) -> ApiResult<Response> {
    let mut graphs = Vec::with_capacity(found.rows.len());
    for row in &found.rows {
        graphs.push(app.graphs.get(conn, row.version).await?);
    }
    let rows = found.rows.iter().zip(&graphs).map(|(row, graph)| wire::Instance::of(row, graph));
    Ok(found.answer("task_instances", &rows.collect::<Vec<_>>()))
}

/// Task instances as they are written.
pub(crate) async fn write(app: &App, conn: &mut PgConnection, rows: &[InstanceListed]) -> ApiResult<Vec<Value>> {
    let mut written = Vec::with_capacity(rows.len());
    for row in rows {
        written.push(json!(wire::Instance::of(row, &*app.graphs.get(conn, row.version).await?)));
    }
    Ok(written)
}

/// The task instance that a path is about.
#[derive(Clone, Debug)]
pub(crate) struct OfInstance {
    pub(crate) dag_id: DagId,
    pub(crate) run_id: RunId,
    pub(crate) task_id: TaskId,
    pub(crate) map_index: i32,
}

/// The parts of such a path; one of an unmapped task instance has no index, and logs have the number of the try.
#[derive(Debug, Deserialize)]
struct Parts {
    dag_id: DagId,
    run_id: RunId,
    task_id: TaskId,
    map_index: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for OfInstance {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> ApiResult<Self> {
        let Path(Parts { dag_id, run_id, task_id, map_index }) = Path::from_request_parts(parts, state).await?;
        let in_query = Params::of(&parts.uri)?.integer("map_index")?;
        let map_index = match map_index {
            None => in_query.unwrap_or(-1),
            Some(text) => text.parse().map_err(|_| {
                let message = "Input should be a valid integer, unable to parse string as an integer";
                ApiError::invalid("int_parsing", json!(["path", "map_index"]), message, text.into())
            })?,
        };
        Ok(Self { dag_id, run_id, task_id, map_index })
    }
}

/// The task instance, or Airflow's 404; of a mapped task without an index, all of its instances.
pub(crate) async fn find_all(conn: &mut PgConnection, of: &OfInstance) -> ApiResult<Vec<InstanceListed>> {
    let found = find_any(conn, of).await?;
    if found.is_empty() { Ok(vec![find(conn, of).await?]) } else { Ok(found) }
}

/// The task instance, if there is one; of a mapped task without an index, all of its instances.
pub(crate) async fn find_any(conn: &mut PgConnection, of: &OfInstance) -> ApiResult<Vec<InstanceListed>> {
    let filter = InstanceFilter::of_run(&of.dag_id, &of.run_id).only(InstanceColumn::TaskId, &of.task_id);
    let index = Some(of.map_index).filter(|index| *index >= 0);
    Ok(page::list(conn, &filter.one_of(InstanceColumn::MapIndex, index), WHOLE_RUN).await?.rows)
}

/// The task instance, or Airflow's 404.
pub(crate) async fn find(conn: &mut PgConnection, of: &OfInstance) -> ApiResult<InstanceListed> {
    let OfInstance { dag_id, run_id, task_id, map_index } = of;
    if let Some(found) = page::get(conn, dag_id, run_id, task_id, *map_index).await? {
        return Ok(found);
    }
    if *map_index < 0 && page::get(conn, dag_id, run_id, task_id, 0).await?.is_some() {
        return Err(ApiError::not_found("Task instance is mapped, add the map_index value to the URL"));
    }
    let index = if *map_index < 0 { String::new() } else { format!(", map_index: `{map_index}`") };
    Err(ApiError::not_found(format!(
        "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`{index} and task_id: `{task_id}` was not found"
    )))
}
