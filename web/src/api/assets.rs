//! `/assets`: assets, their updates, and the updates for which DAGs have not run yet.

use std::borrow::Cow;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use orchestrator::{
    commands::{self, By, ManualRun, Refused},
    ids::{DagId, RunId},
    store::pages::{
        Page,
        assets::{
            self as page, AssetColumn, AssetFilter, AssetListed, EventColumn, EventFilter, EventListed, QueueFilter,
        },
        runs,
        select::Test,
    },
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    body::Body,
    error::{ApiError, ApiResult},
    filters::Filters,
    path::Path,
    query::{Params, listed},
    runs::made,
    wire,
};
use crate::{App, auth};

const ONE: Page = Page { limit: 1, offset: 0 };

const ORDERS: [(&str, AssetColumn); 5] = [
    ("id", AssetColumn::AssetId),
    ("name", AssetColumn::Name),
    ("uri", AssetColumn::Name),
    ("created_at", AssetColumn::CreatedAt),
    ("updated_at", AssetColumn::CreatedAt),
];

const EVENT_ORDERS: [(&str, EventColumn); 5] = [
    ("timestamp", EventColumn::When),
    ("source_dag_id", EventColumn::SourceDag),
    ("source_run_id", EventColumn::SourceRun),
    ("source_task_id", EventColumn::SourceTask),
    ("source_map_index", EventColumn::SourceMapIndex),
];

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let of_dags = Some(params.all("dag_ids")).filter(|dags| !dags.is_empty()).map(Test::HasAny);
    let filter = Filters::new(&params)
        .pattern("name", AssetColumn::Name)
        .pattern("uri", AssetColumn::Name)
        .when(AssetColumn::Dags, of_dags)
        .order(&ORDERS, &[AssetColumn::AssetId])?;
    let mut conn = app.pool.acquire().await?;
    let found = page::list(&mut conn, &filter, params.page()?).await?;
    Ok(Json(listed("assets", write(&mut conn, &found.rows).await?, found.total)))
}

pub(crate) async fn get(State(app): State<App>, Path(id): Path<i32>) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let asset = find(&mut conn, id).await?;
    Ok(Json(write(&mut conn, &[asset]).await?.remove(0)))
}

async fn find(conn: &mut PgConnection, id: i32) -> ApiResult<AssetListed> {
    let found = page::list(conn, &AssetFilter::default().only(AssetColumn::AssetId, id), ONE).await?.rows.pop();
    found.ok_or_else(|| ApiError::not_found(format!("The Asset with ID: `{id}` was not found")))
}

async fn write(conn: &mut PgConnection, assets: &[AssetListed]) -> ApiResult<Vec<Value>> {
    let names: Vec<_> = assets.iter().map(|asset| asset.name.clone()).collect();
    let (producers, waiting) = (page::producers(conn, &names).await?, page::waiting(conn, &names).await?);
    Ok(assets.iter().map(|asset| wire::asset(asset, &producers, &waiting)).collect())
}

pub(crate) async fn events(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let filter = Filters::new(&params)
        .integers("asset_id", EventColumn::AssetId)?
        .any("source_dag_id", EventColumn::SourceDag)
        .any("source_run_id", EventColumn::SourceRun)
        .any("source_task_id", EventColumn::SourceTask)
        .integers("source_map_index", EventColumn::SourceMapIndex)?
        .pattern("name", EventColumn::Asset)
        .instants("timestamp", EventColumn::When)?
        .order(&EVENT_ORDERS, &[EventColumn::When])?;
    let mut conn = app.pool.acquire().await?;
    let found = page::events(&mut conn, &filter, params.page()?).await?;
    Ok(Json(listed("asset_events", write_events(&mut conn, &found.rows).await?, found.total)))
}

/// The updates that made a run.
pub(crate) async fn events_of_run(State(app): State<App>, Path((dag_id, run_id)): Path<(DagId, RunId)>) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let run = runs::get(&mut conn, &dag_id, &run_id).await?.ok_or(Refused::NoRun(dag_id, run_id))?;
    let found = page::causes(&mut conn, run.run_key).await?;
    Ok(Json(listed("asset_events", write_events(&mut conn, &found).await?, found.len() as i64)))
}

async fn write_events(conn: &mut PgConnection, events: &[EventListed]) -> ApiResult<Vec<Value>> {
    let ids: Vec<_> = events.iter().map(|event| event.event_id).collect();
    let mut made = page::made_runs(conn, &ids).await?;
    made.retain(|run| auth::sees_dag(&run.dag_id));
    Ok(events.iter().map(|event| wire::asset_event(&seen(event), &made)).collect())
}

/// What may be seen of an update by a DAG that may not: that there was one.
fn seen(event: &EventListed) -> Cow<'_, EventListed> {
    match &event.source_dag_id {
        Some(dag) if !auth::sees_dag(dag) => Cow::Owned(EventListed {
            source_dag_id: None,
            source_run_id: None,
            source_task_id: None,
            source_map_index: None,
            extra: json!({}),
            ..event.clone()
        }),
        _ => Cow::Borrowed(event),
    }
}

/// Something outside has updated an asset.
pub(crate) async fn create_event(
    State(app): State<App>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &["asset_id"], &["asset_id", "extra", "partition_key", "access_control"])?;
    for key in ["partition_key", "access_control"] {
        if body.value(key).is_some() {
            return Err(ApiError::bad_request(format!("{key} is not served: assets have none here")));
        }
    }
    let mut conn = app.pool.acquire().await?;
    let asset = find(&mut conn, body.integer("asset_id")?.unwrap_or_default()).await?;
    let mut extra = body.object("extra")?.unwrap_or_else(|| json!({}));
    extra["from_rest_api"] = json!(true);
    let made = commands::update_asset(&mut conn, &asset.name, &extra, &by).await?;
    app.wake.everybody();
    let filter = EventFilter::default().only(EventColumn::EventId, made);
    let found = page::events(&mut conn, &filter, ONE).await?;
    let gone = || ApiError::not_found(format!("The asset event {made} was not found"));
    write_events(&mut conn, &found.rows).await?.pop().map(Json).ok_or_else(gone)
}

/// Triggers the DAG that makes the asset.
pub(crate) async fn materialize(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(id): Path<i32>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let asset = find(&mut conn, id).await?;
    let mut makers: Vec<_> =
        page::producers(&mut conn, &[asset.name]).await?.into_iter().map(|producer| producer.dag_id).collect();
    makers.dedup();
    let dag_id = match makers.as_slice() {
        [only] => only.clone(),
        [] => return Err(ApiError::not_found(format!("No DAG materializes asset with ID: {id}"))),
        _ => {
            let text = format!("More than one DAG materializes asset with ID: {id}");
            return Err(ApiError::new(StatusCode::CONFLICT, text));
        }
    };
    drop(conn);
    let run =
        if body.is_empty() { ManualRun::default() } else { super::runs::read_run(&dag_id, &headers, &body, &[])? };
    made(&app, &by, &dag_id, run).await
}

/// Which queued updates a path is about.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct OfQueue {
    dag_id: Option<DagId>,
    asset_id: Option<i32>,
}

impl OfQueue {
    /// Of these, those that happened before the instant that the query names.
    fn which(&self, uri: &Uri) -> ApiResult<QueueFilter> {
        let before = Params::of(uri)?.instant("before")?;
        Ok(QueueFilter { dag_id: self.dag_id.clone(), asset_id: self.asset_id, before })
    }

    fn gone(&self) -> ApiError {
        let named = [
            self.dag_id.as_ref().map(|dag| format!("dag_id: `{dag}`")),
            self.asset_id.map(|asset| format!("asset_id: `{asset}`")),
        ];
        let named: Vec<_> = named.into_iter().flatten().collect();
        ApiError::not_found(format!("Queue event with {} was not found", named.join(" and ")))
    }
}

pub(crate) async fn queued(State(app): State<App>, Path(of): Path<OfQueue>, uri: Uri) -> ApiResult {
    let which = of.which(&uri)?;
    let found = page::queued(&mut *app.pool.acquire().await?, &which).await?;
    if found.is_empty() {
        return Err(of.gone());
    }
    let rows: Vec<_> = found.iter().map(wire::queued_event).collect();
    let total = rows.len() as i64;
    Ok(Json(listed("queued_events", rows, total)))
}

/// The one queued update of an asset for a DAG.
pub(crate) async fn queued_one(State(app): State<App>, Path(of): Path<OfQueue>, uri: Uri) -> ApiResult {
    let which = of.which(&uri)?;
    let found = page::queued(&mut *app.pool.acquire().await?, &which).await?;
    found.first().map(|event| Json(wire::queued_event(event))).ok_or_else(|| of.gone())
}

pub(crate) async fn forget(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(of): Path<OfQueue>,
    uri: Uri,
) -> ApiResult<StatusCode> {
    let which = of.which(&uri)?;
    let mut conn = app.pool.acquire().await?;
    match commands::forget_updates(&mut conn, &which, &by).await? {
        0 => Err(of.gone()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Ours have none.
pub(crate) async fn aliases() -> Json<Value> {
    Json(listed("asset_aliases", vec![], 0))
}

pub(crate) async fn alias(Path(id): Path<i64>) -> ApiError {
    ApiError::not_found(format!("The Asset Alias with ID: `{id}` was not found"))
}
