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

/// `POST /connections/test`: refused as Airflow does unless `[core] test_connection` is enabled. A connection may be called so,
/// too.
pub(crate) async fn connection_test(Path(id): Path<String>) -> ApiResult {
    if id != "test" {
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
    }
    let text = "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it.";
    Err(ApiError::new(StatusCode::FORBIDDEN, text))
}

/// Refused as Airflow does unless `[api] expose_config` is set.
pub(crate) async fn config() -> ApiResult {
    let text = "Your Airflow administrator chose not to expose the configuration, most likely for security reasons.";
    Err(ApiError::new(StatusCode::FORBIDDEN, text))
}
