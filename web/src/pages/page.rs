//! What all pages share: rendering, errors, and how times and durations are written.

use askama::Template;
use axum::{
    http::{StatusCode, Uri},
    response::{Html, IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat, Utc};
use orchestrator::commands::{Kind, Refused};

/// A page that can be shown.
pub(crate) struct Page<T>(pub(crate) T);

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.0.render() {
            Ok(html) => Html(html).into_response(),
            Err(error) => PageError::from(anyhow::Error::from(error)).into_response(),
        }
    }
}

/// An error as a page.
#[derive(Debug)]
pub(crate) struct PageError {
    status: StatusCode,
    message: String,
}

/// What a handler shows.
pub(crate) type PageResult<T> = Result<Page<T>, PageError>;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    title: &'static str,
    message: String,
}

impl ErrorPage {
    fn is_live(&self) -> bool {
        false
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::SERVICE_UNAVAILABLE => "The database does not answer",
            StatusCode::INTERNAL_SERVER_ERROR => "Something failed",
            _ => "That was refused",
        };
        (self.status, Page(ErrorPage { title, message: self.message })).into_response()
    }
}

impl PageError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }
}

impl From<Refused> for PageError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        let status = match (refused.kind(), refused) {
            (_, Refused::Failed(error)) => return error.into(),
            (Kind::Missing, _) => StatusCode::NOT_FOUND,
            (Kind::Duplicate | Kind::Conflict, _) => StatusCode::CONFLICT,
            (Kind::Unfit | Kind::Failed, _) => StatusCode::BAD_REQUEST,
        };
        Self { status, message }
    }
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<anyhow::Error> for PageError {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!(error = format!("{error:#}"), "a page failed");
        let is_away = error.downcast_ref::<sqlx::Error>().is_some_and(orchestrator::store::is_transient);
        let (status, message) = match is_away {
            true => (StatusCode::SERVICE_UNAVAILABLE, "It is tried again with every request; nothing is lost."),
            false => (StatusCode::INTERNAL_SERVER_ERROR, "The log of the server says what."),
        };
        Self { status, message: message.to_owned() }
    }
}

/// A request that does not get through.
pub(crate) fn refused(status: StatusCode, message: &str) -> Response {
    PageError::new(status, message).into_response()
}

pub(crate) async fn not_found(uri: Uri) -> PageError {
    PageError::not_found(format!("There is no page {}.", uri.path()))
}

/// An instant, to the second.
pub(crate) fn instant(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(
        || "–".to_owned(),
        |at| at.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ").replace('Z', ""),
    )
}

/// How long it took, or takes already.
pub(crate) fn took(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let Some(from) = from else { return "–".to_owned() };
    let millis = (to.unwrap_or(now) - from).num_milliseconds().max(0);
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{:.1} s", millis as f64 / 1_000.0),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis / 1_000 % 60),
        _ => format!("{} h {} min", millis / 3_600_000, millis / 60_000 % 60),
    }
}
