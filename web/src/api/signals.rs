//! `/api/signals`: ours, for Airflow has no such thing. Tells tasks that something has happened.

use axum::{Extension, Json, body::Bytes, extract::State};
use orchestrator::commands::{self, By};
use serde_json::json;

use super::{body::any_json, error::ApiResult, path::Path};
use crate::App;

/// Posts a signal, with any JSON as what tasks find; says how many tasks went on.
pub(crate) async fn put(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(key): Path<String>,
    body: Bytes,
) -> ApiResult {
    let payload = any_json(&body)?;
    let woken = commands::post_signal(&mut *app.pool.acquire().await?, &key, &payload, &by).await?;
    app.wake.everybody();
    Ok(Json(json!({ "key": key, "woken": woken })))
}
