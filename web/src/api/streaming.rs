//! `/api/streaming`: ours. The streaming workers tell how they are.

use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use lake::report::Report;
use orchestrator::store::streaming::{self, NewReport};
use serde_json::{Value, json};

use super::{
    body::any_json,
    error::{ApiError, ApiResult},
};
use crate::App;

/// Keeps a report in place of the worker's last one.
pub(crate) async fn report(State(app): State<App>, body: Bytes) -> ApiResult<(StatusCode, Json<Value>)> {
    let kept = any_json(&body)?;
    let report: Report = serde_json::from_value(kept.clone()).map_err(|error| {
        ApiError::invalid("value_error", json!(["body"]), format!("it is not a report: {error}"), Value::Null)
    })?;
    if report.worker.is_empty() || report.worker.len() > 250 {
        let text = "the name of a worker has 1 to 250 bytes";
        return Err(ApiError::invalid("value_error", json!(["body", "worker"]), text, json!(report.worker)));
    }
    let is_negative = |number: i64| number < 0;
    let numbers = [report.held_bytes, report.budget_bytes, report.open_files];
    if numbers.into_iter().chain(report.partitions.iter().map(|of| of.lag_records)).any(is_negative) {
        let text = "nothing that is counted here is less than nothing";
        return Err(ApiError::invalid("value_error", json!(["body"]), text, Value::Null));
    }
    let records = i64::try_from(report.records()).unwrap_or(i64::MAX);
    let new = NewReport { worker: &report.worker, report: &kept, records, lag_records: report.lag_records() };
    streaming::put(&mut *app.pool.acquire().await?, &new).await?;
    Ok((StatusCode::CREATED, Json(json!({ "worker": report.worker }))))
}
