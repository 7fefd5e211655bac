//! Airflow's public API v2, as far as it is served. Paths, fields, defaults and error shapes are those of Airflow
//! 3.3.2's `OpenAPI` document.

mod absent;
mod assets;
mod backfills;
mod body;
mod bulk;
mod clear;
mod connections;
pub(crate) mod cursor;
mod dags;
mod error;
mod events;
mod favorites;
mod filters;
mod health;
mod instances;
mod jobs;
mod logs;
mod many;
mod mark;
mod path;
mod pools;
mod query;
mod runs;
mod signals;
mod stats;
mod streaming;
mod variables;
mod versions;
mod wait;
mod wire;
mod xcom;

pub(crate) use self::{
    body::Body,
    error::{ApiError, ApiResult},
    logs::text as line_text,
    path::Path,
    query::listed,
    wire::instant,
};

use axum::{
    Json, Router,
    http::StatusCode,
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, patch, post, put},
};
use serde_json::json;

use crate::App;

/// The routes below `/api/v2`.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/version", get(health::version))
        .route("/monitor/health", get(health::health))
        .nest("/dags", dags())
        .nest("/dags/{dag_id}/dagRuns", runs())
        .nest("/dags/{dag_id}/dagRuns/{run_id}/taskInstances", instances())
        .nest("/assets", assets())
        .nest("/backfills", backfills())
        .merge(settings())
        .merge(records())
        .fallback(no_route)
        .layer(map_response(error::in_airflows_shape))
}

fn dags() -> Router<App> {
    Router::new()
        .route("/", get(dags::list).patch(dags::patch_all))
        .route("/{dag_id}", get(dags::get).patch(dags::patch).delete(dags::delete))
        .route("/{dag_id}/details", get(dags::details))
        .route("/{dag_id}/favorite", post(favorites::favorite))
        .route("/{dag_id}/unfavorite", post(favorites::unfavorite))
        .route("/{dag_id}/tasks", get(dags::tasks))
        .route("/{dag_id}/tasks/{task_id}", get(dags::task))
        .route("/{dag_id}/clearTaskInstances", post(clear::clear))
        .route("/{dag_id}/clearDagRuns", post(clear::clear_runs))
        .route("/{dag_id}/assets/queuedEvents", get(assets::queued).delete(assets::forget))
        .route("/{dag_id}/assets/{asset_id}/queuedEvents", get(assets::queued_one).delete(assets::forget))
        .route("/{dag_id}/dagVersions", get(versions::list))
        .route("/{dag_id}/dagVersions/{number}", get(versions::get))
}

fn runs() -> Router<App> {
    Router::new()
        .route("/", get(runs::list).post(runs::trigger).patch(bulk::patch::<many::Runs>))
        .route("/list", post(runs::list_batch))
        .route("/{run_id}", get(runs::get).patch(mark::run).delete(runs::delete))
        .route("/{run_id}/clear", post(clear::clear_run))
        .route("/{run_id}/taskGroupInstances/{group_id}", patch(mark::group))
        .route("/{run_id}/taskGroupInstances/{group_id}/dry_run", patch(mark::group_dry_run))
        .route("/{run_id}/upstreamAssetEvents", get(assets::events_of_run))
        .route("/{run_id}/wait", get(wait::wait))
}

fn instances() -> Router<App> {
    Router::new()
        .route("/", get(instances::list).patch(bulk::patch::<many::Instances>))
        .route("/list", post(instances::list_batch))
        .route("/{task_id}", get(instances::get).patch(mark::task).delete(absent::delete_instance))
        .route("/{task_id}/listMapped", get(instances::list_mapped))
        .route("/{task_id}/dry_run", patch(mark::dry_run))
        .route("/{task_id}/dependencies", get(instances::dependencies))
        .route("/{task_id}/{map_index}/dependencies", get(instances::dependencies))
        .route("/{task_id}/tries", get(instances::tries))
        .route("/{task_id}/tries/{try_number}", get(instances::one_try))
        .route("/{task_id}/links", get(instances::extra_links))
        .route("/{task_id}/logs/{try_number}", get(logs::get))
        .route("/{task_id}/xcomEntries", get(xcom::list).post(xcom::create))
        .route("/{task_id}/xcomEntries/{key}", get(xcom::get).patch(xcom::patch).delete(xcom::delete))
        .route("/{task_id}/{map_index}", get(instances::get).patch(mark::task))
        .route("/{task_id}/{map_index}/dry_run", patch(mark::dry_run))
        .route("/{task_id}/{map_index}/tries", get(instances::tries))
        .route("/{task_id}/{map_index}/tries/{try_number}", get(instances::one_try))
}

fn assets() -> Router<App> {
    Router::new()
        .route("/", get(assets::list))
        .route("/aliases", get(assets::aliases))
        .route("/aliases/{id}", get(assets::alias))
        .route("/events", get(assets::events).post(assets::create_event))
        .route("/{asset_id}", get(assets::get))
        .route("/{asset_id}/materialize", post(assets::materialize))
        .route("/{asset_id}/queuedEvents", get(assets::queued).delete(assets::forget))
}

fn backfills() -> Router<App> {
    Router::new()
        .route("/", get(backfills::list).post(backfills::create))
        .route("/dry_run", post(backfills::dry_run))
        .route("/{id}", get(backfills::get))
        .route("/{id}/pause", put(backfills::pause))
        .route("/{id}/unpause", put(backfills::unpause))
        .route("/{id}/cancel", put(backfills::cancel))
}

/// What people set.
fn settings() -> Router<App> {
    Router::new()
        .route("/variables", get(variables::list).post(variables::create).patch(bulk::patch::<variables::Variables>))
        .route("/variables/{*key}", get(variables::get).patch(variables::patch).delete(variables::delete))
        .route(
            "/connections",
            get(connections::list).post(connections::create).patch(bulk::patch::<connections::Connections>),
        )
        .route(
            "/connections/{id}",
            get(connections::get).patch(connections::patch).delete(connections::delete).post(absent::connection_action),
        )
        .route("/pools", get(pools::list).post(pools::create).patch(bulk::patch::<pools::Pools>))
        .route("/pools/{name}", get(pools::get).patch(pools::patch).delete(pools::delete))
}

/// What the program writes down, and what it cannot have.
fn records() -> Router<App> {
    Router::new()
        .route("/dagSources/{dag_id}", get(versions::source))
        .route("/dagStats", get(stats::dags))
        .route("/dagTags", get(stats::tags))
        .route("/eventLogs", get(events::list))
        .route("/eventLogs/{id}", get(events::get))
        .route("/jobs", get(jobs::list))
        .route("/dagWarnings", get(absent::dag_warnings))
        .route("/importErrors", get(absent::import_errors))
        .route("/importErrors/{id}", get(absent::import_error))
        .route("/plugins", get(absent::plugins))
        .route("/plugins/importErrors", get(absent::import_errors))
        .route("/providers", get(absent::providers))
        .route("/config", get(absent::config))
        .route("/config/section/{section}/option/{option}", get(absent::config))
}

/// The routes that Airflow does not have, below `/api`.
pub(crate) fn own_router() -> Router<App> {
    Router::new()
        .route("/signals/{key}", put(signals::put))
        .route("/streaming/reports", post(streaming::report))
        .layer(map_response(error::in_airflows_shape))
}

async fn no_route() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "API route not found" }))).into_response()
}
