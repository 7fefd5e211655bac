//! The log of a try: JSON, or lines of JSON, or text.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use orchestrator::store::logs::{self as store, LogRow};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    error::{ApiError, ApiResult},
    instances::{self, OfInstance},
    path::Path,
    query::Params,
    wire,
};
use crate::App;

/// Lines in one answer; a longer log goes on at its `continuation_token`.
const LINES_MAX: i64 = 10_000;

/// The last part of the path.
#[derive(Debug, Deserialize)]
pub(crate) struct TryNumber {
    try_number: String,
}

pub(crate) async fn get(
    State(app): State<App>,
    Path(TryNumber { try_number }): Path<TryNumber>,
    of: OfInstance,
    uri: Uri,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let number: i32 = try_number.parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
        let message = "Input should be a valid integer, unable to parse string as an integer";
        ApiError::invalid("int_parsing", json!(["path", "try_number"]), message, try_number.clone().into())
    })?;
    let after = match Params::of(&uri)?.one("token") {
        None => 0,
        Some(token) => token
            .parse()
            .map_err(|_| ApiError::bad_request("Bad Signature. Please use only the tokens provided by the API."))?,
    };
    let mut conn = app.pool.acquire().await?;
    let instance = instances::find(&mut conn, &of).await?;
    let lines = store::of_try(&mut conn, instance.instance, number, after, LINES_MAX).await?;
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if accepted.starts_with("application/x-ndjson") {
        let lines: String = lines.iter().map(|line| format!("{}\n", write(line))).collect();
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response());
    }
    if !accepted.starts_with("*/*") && !accepted.starts_with("application/json") {
        let text = "Only application/json or application/x-ndjson is supported";
        return Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, text));
    }
    let is_whole = (lines.len() as i64) < LINES_MAX;
    let token = lines.last().filter(|_| !is_whole).map(|line| line.line.to_string());
    let content: Vec<_> = lines.iter().map(write).collect();
    Ok(Json(json!({ "content": content, "continuation_token": token })).into_response())
}

fn write(line: &LogRow) -> Value {
    json!({
        "timestamp": wire::instant(line.logged_at), "event": line.message, "level": line.level.to_lowercase(),
        "logger": line.logger,
    })
}
