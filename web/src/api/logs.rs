//! The log of a try: JSON a page at a time, or lines of JSON to its end, which a try that runs has not come to yet.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use orchestrator::{
    state::TaskState,
    store::logs::{self as store, LogRow},
};
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

/// The same in bytes of messages, if the whole log is asked for at once.
const BYTES_WHOLE: usize = 16 << 20;

/// How long to wait for more of a try that runs (Airflow's `STREAM_LOOP_SLEEP_SECONDS`).
const INTERVAL: Duration = Duration::from_secs(1);

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
    let params = Params::of(&uri)?;
    let bytes_max = if params.flag("full_content")?.unwrap_or(false) { BYTES_WHOLE } else { 0 };
    let after = match params.one("token") {
        None => 0,
        Some(token) => token
            .parse()
            .map_err(|_| ApiError::bad_request("Bad Signature. Please use only the tokens provided by the API."))?,
    };
    let mut conn = app.pool.acquire().await?;
    let instance = instances::find(&mut conn, &of).await?;
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    for form in [Form::Json, Form::Text] {
        if accepted.starts_with(form.kind()) {
            drop(conn);
            return Ok(followed(Tail { app, of, number, after, form, stage: Stage::Written }));
        }
    }
    if !accepted.starts_with("*/*") && !accepted.starts_with("application/json") {
        let text = "Only application/json, application/x-ndjson or text/plain is supported";
        return Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, text));
    }
    let (mut content, mut bytes, mut after, mut token) = (Vec::new(), 0, after, None);
    loop {
        let lines = store::of_try(&mut conn, instance.instance, number, after, LINES_MAX).await?;
        content.extend(lines.iter().map(write));
        let Some(last) = lines.last().filter(|_| lines.len() as i64 == LINES_MAX) else { break };
        (bytes, after) = (bytes + lines.iter().map(|line| line.message.len()).sum::<usize>(), last.line);
        if bytes >= bytes_max {
            token = Some(last.line.to_string());
            break;
        }
    }
    Ok(Json(json!({ "content": content, "continuation_token": token })).into_response())
}

fn write(line: &LogRow) -> Value {
    json!({
        "timestamp": wire::instant(line.logged_at), "event": line.message, "level": line.level.to_lowercase(),
        "logger": line.logger,
    })
}

/// How the lines of a log that is followed are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A line of JSON each.
    Json,
    /// As people read them; ours alone.
    Text,
}

impl Form {
    fn kind(self) -> &'static str {
        match self {
            Self::Json => "application/x-ndjson",
            Self::Text => "text/plain",
        }
    }

    fn write(self, lines: &[LogRow]) -> String {
        let write = |line| match self {
            Self::Json => format!("{}\n", write(line)),
            Self::Text => text(line),
        };
        lines.iter().map(write).collect()
    }
}

/// A line of a log as people read it, with its end.
pub(crate) fn text(line: &LogRow) -> String {
    let at = line.logged_at.format("%Y-%m-%dT%H:%M:%S%.6fZ");
    format!("{at} {:<5} {}\n", line.level, line.message)
}

/// What comes of a log after a line.
struct Tail {
    app: App,
    of: OfInstance,
    number: i32,
    after: i64,
    form: Form,
    stage: Stage,
}

/// How far a log has been followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What is written is read.
    Written,
    /// The try runs: more may come.
    Running,
    /// The try has ended just now. Lines are written beside its outcome, so some may be a moment later.
    Ending,
}

fn followed(tail: Tail) -> Response {
    // Compression asks once more after the end.
    let kind = tail.form.kind();
    let lines = stream::unfold(Some(tail), next).map(Ok::<_, Infallible>).fuse();
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response()
}

/// The next lines, and what comes after them: nothing, if the try has ended or cannot be read.
async fn next(tail: Option<Tail>) -> Option<(String, Option<Tail>)> {
    let mut tail = tail?;
    loop {
        if tail.stage != Stage::Written {
            tokio::time::sleep(INTERVAL).await;
        }
        let Ok((lines, is_running)) = tail.read().await else {
            let line = json!({ "error": "the log cannot be read any more" });
            return Some((format!("{line}\n"), None));
        };
        let is_behind = lines.len() as i64 == LINES_MAX;
        let stage = match (tail.stage, is_running) {
            _ if is_behind => Some(tail.stage),
            (_, true) => Some(Stage::Running),
            (Stage::Running, false) => Some(Stage::Ending),
            (Stage::Written | Stage::Ending, false) => None,
        };
        let Some(stage) = stage else {
            return (!lines.is_empty()).then(|| (tail.form.write(&lines), None));
        };
        tail.stage = stage;
        if let Some(last) = lines.last() {
            tail.after = last.line;
            return Some((tail.form.write(&lines), Some(tail)));
        }
    }
}

impl Tail {
    /// The next lines, and whether there may be more; asked in this order, for what is said last is said before the end.
    async fn read(&self) -> ApiResult<(Vec<LogRow>, bool)> {
        let mut conn = self.app.pool.acquire().await?;
        let instance = instances::find(&mut conn, &self.of).await?;
        let is_running = instance.try_number == self.number
            && matches!(instance.state, TaskState::Running | TaskState::Restarting | TaskState::Deferred);
        let lines = store::of_try(&mut conn, instance.instance, self.number, self.after, LINES_MAX).await?;
        Ok((lines, is_running))
    }
}
