//! What Airflow has and this program cannot have: lists that are empty, and what is refused.

use axum::{Json, http::StatusCode};
use serde_json::Value;

use super::{
    error::{ApiError, ApiResult},
    path::Path,
    query::listed,
};

/// A DAG that cannot be imported was not compiled.
pub(crate) async fn import_errors() -> Json<Value> {
    Json(listed("import_errors", vec![], 0))
}

pub(crate) async fn import_error(Path(id): Path<i64>) -> ApiError {
    ApiError::not_found(format!("The ImportError with import_error_id: `{id}` was not found"))
}

pub(crate) async fn dag_warnings() -> Json<Value> {
    Json(listed("dag_warnings", vec![], 0))
}

pub(crate) async fn plugins() -> Json<Value> {
    Json(listed("plugins", vec![], 0))
}

pub(crate) async fn providers() -> Json<Value> {
    Json(listed("providers", vec![], 0))
}

/// `POST /connections/test` and its kin: refused as Airflow does unless `[core] test_connection` is enabled. A connection may
/// be called so, too.
pub(crate) async fn connection_action(Path(id): Path<String>) -> ApiError {
    let text = "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it.";
    match id.as_str() {
        "test" | "enqueue-test" => ApiError::new(StatusCode::FORBIDDEN, text),
        "defaults" => ApiError::new(StatusCode::NOT_IMPLEMENTED, "there are no connections that everybody has"),
        _ => ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
    }
}

/// A run without some of its tasks could not be told from its graph.
pub(crate) async fn delete_instance() -> ApiError {
    let text = "a task instance is not deleted alone: clear it, or delete its run";
    ApiError::new(StatusCode::NOT_IMPLEMENTED, text)
}

/// Refused as Airflow does unless `[api] expose_config` is set.
pub(crate) async fn config() -> ApiResult {
    let text = "Your Airflow administrator chose not to expose the configuration, most likely for security reasons.";
    Err(ApiError::new(StatusCode::FORBIDDEN, text))
}
