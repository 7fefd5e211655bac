//! `/api/signals`: ours, for Airflow has no such thing. Tells tasks that something has happened.

use axum::{
    Json,
    extract::{Path, State},
};
use orchestrator::commands::{self, Origin};
use serde_json::{Value, json};

use super::error::ApiResult;
use crate::App;

/// Posts a signal, with any JSON as what tasks find; says how many tasks went on.
pub(crate) async fn put(State(app): State<App>, Path(key): Path<String>, Json(payload): Json<Value>) -> ApiResult {
    let woken = commands::post_signal(&mut *app.pool.acquire().await?, &key, &payload, Origin::RestApi).await?;
    app.wake.everybody();
    Ok(Json(json!({ "key": key, "woken": woken })))
}
