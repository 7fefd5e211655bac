//! Airflow's public API v2, as far as it is served. Paths, fields, defaults and error shapes are those of Airflow
//! 3.3.2's `OpenAPI` document.

mod backfills;
mod body;
mod clear;
mod connections;
mod dags;
mod error;
mod filters;
mod health;
mod instances;
mod logs;
mod mark;
mod pools;
mod query;
mod runs;
mod signals;
mod variables;
mod wire;

use axum::{
    Json, Router,
    http::StatusCode,
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
        .route("/dags", get(dags::list))
        .route("/dags/{dag_id}", get(dags::get).patch(dags::patch))
        .route("/dags/{dag_id}/details", get(dags::details))
        .route("/dags/{dag_id}/tasks", get(dags::tasks))
        .route("/dags/{dag_id}/tasks/{task_id}", get(dags::task))
        .route("/dags/{dag_id}/clearTaskInstances", post(clear::clear))
        .route("/dags/{dag_id}/dagRuns", get(runs::list).post(runs::trigger))
        .route("/dags/{dag_id}/dagRuns/list", post(runs::list_batch))
        .route("/dags/{dag_id}/dagRuns/{run_id}", get(runs::get).patch(mark::run))
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances", get(instances::list))
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/list", post(instances::list_batch))
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", get(instances::get).patch(mark::task))
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/listMapped", get(instances::list_mapped))
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/dry_run", patch(mark::dry_run))
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/tries", get(instances::tries))
        .route(
            "/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}",
            get(instances::get).patch(mark::task),
        )
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}/dry_run", patch(mark::dry_run))
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}/tries", get(instances::tries))
        .route("/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}", get(logs::get))
        .route("/backfills", get(backfills::list).post(backfills::create))
        .route("/backfills/dry_run", post(backfills::dry_run))
        .route("/backfills/{id}", get(backfills::get))
        .route("/backfills/{id}/pause", put(backfills::pause))
        .route("/backfills/{id}/unpause", put(backfills::unpause))
        .route("/backfills/{id}/cancel", put(backfills::cancel))
        .route("/variables", get(variables::list).post(variables::create))
        .route("/variables/{*key}", get(variables::get).patch(variables::patch).delete(variables::delete))
        .route("/connections", get(connections::list).post(connections::create))
        .route("/connections/{id}", get(connections::get).patch(connections::patch).delete(connections::delete))
        .route("/pools", get(pools::list).post(pools::create))
        .route("/pools/{name}", get(pools::get).patch(pools::patch).delete(pools::delete))
        .fallback(no_route)
}

/// The routes that Airflow does not have, below `/api`.
pub(crate) fn own_router() -> Router<App> {
    Router::new().route("/signals/{key}", put(signals::put))
}

async fn no_route() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "API route not found" }))).into_response()
}
