//! What all pages share: their frame, rendering, errors.

use askama::Template;
use axum::{
    http::{StatusCode, Uri},
    response::{Html, IntoResponse, Response},
};
use orchestrator::{
    accounts::Role,
    commands::{Kind, Refused},
    ids::DagId,
    secrets::SecretError,
    store::pages::select::cursor::NotTurned,
};

use super::{
    theme::{self, Theme},
    told,
};
use crate::auth::{self, Lacking};

/// An entry of the navigation.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    /// `aria-current`.
    pub(crate) current: &'static str,
}

/// What is looked at all day: section, address, name.
const DAILY: [(&str, &str, &str); 7] = [
    ("home", "/", "Home"),
    ("dags", "/dags", "DAGs"),
    ("runs", "/runs", "Runs"),
    ("tasks", "/tasks", "Tasks"),
    ("backfills", "/backfills", "Backfills"),
    ("assets", "/assets", "Assets"),
    ("streaming", "/streaming", "Streaming"),
];

/// What is looked at now and then.
const ADMIN: [(&str, &str, &str); 7] = [
    ("pools", "/pools", "Pools"),
    ("variables", "/variables", "Variables"),
    ("connections", "/connections", "Connections"),
    ("users", "/users", "Users"),
    ("audit", "/audit", "Audit log"),
    ("health", "/health", "Health"),
    ("api", "/docs", "API"),
];

/// What the frame around a page asks it.
pub(crate) trait Frame {
    /// The entry of the navigation that it belongs to.
    const SECTION: &'static str = "";

    /// The entries that whoever looks may open: those of all day, and those of now and then.
    fn entries(&self) -> [Vec<Entry>; 2] {
        [&DAILY, &ADMIN].map(|entries| {
            let seen = entries.iter().filter(|(_, path, _)| auth::sees(path));
            let entry = |(section, path, name): &(&str, &'static str, &'static str)| {
                let current = if *section == Self::SECTION { "page" } else { "false" };
                Entry { path, name, current }
            };
            seen.map(entry).collect()
        })
    }

    /// Whether this page is one of now and then.
    fn is_administration(&self) -> bool {
        ADMIN.iter().any(|(section, ..)| *section == Self::SECTION)
    }

    /// Whether whoever looks has signed in, or need not.
    fn is_somebody(&self) -> bool {
        auth::sees("/account")
    }

    /// Whether whoever looks may work on a DAG: what they may not do is not offered.
    fn works_on(&self, dag: &DagId) -> bool {
        auth::works_on(dag)
    }

    /// Whether whoever looks may work on all DAGs.
    fn is_user(&self) -> bool {
        auth::is_at_least(Role::User)
    }

    /// Whether whoever looks may change what all DAGs share.
    fn is_op(&self) -> bool {
        auth::is_at_least(Role::Op)
    }

    /// Whether whoever looks may look at another page, too.
    fn sees(&self, path: &str) -> bool {
        auth::sees(path)
    }

    /// Its colours.
    fn theme(&self) -> Theme {
        theme::now()
    }

    /// What was done before it was shown.
    fn done_before(&self) -> Option<String> {
        told::now()
    }

    /// Whether it may change by itself.
    fn is_live(&self) -> bool {
        false
    }
}

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

impl Frame for ErrorPage {}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::GATEWAY_TIMEOUT => "That took too long",
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

impl From<Lacking> for PageError {
    fn from(lacking: Lacking) -> Self {
        Self::new(StatusCode::FORBIDDEN, lacking.to_string())
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

impl From<NotTurned> for PageError {
    fn from(error: NotTurned) -> Self {
        match error {
            NotTurned::Database(error) => error.into(),
            foreign => Self::new(StatusCode::BAD_REQUEST, foreign.to_string()),
        }
    }
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<SecretError> for PageError {
    fn from(error: SecretError) -> Self {
        Self::new(StatusCode::CONFLICT, error.to_string())
    }
}

impl From<anyhow::Error> for PageError {
    fn from(error: anyhow::Error) -> Self {
        let error = match error.downcast::<SecretError>() {
            Ok(sealed) => return sealed.into(),
            Err(error) => error,
        };
        tracing::error!(error = format!("{error:#}"), "a page failed");
        let is_away = error.downcast_ref::<sqlx::Error>().is_some_and(orchestrator::store::is_transient);
        let (status, message) = match is_away {
            true => (StatusCode::SERVICE_UNAVAILABLE, "It is tried again with every request; nothing is lost."),
            false => (StatusCode::INTERNAL_SERVER_ERROR, "The log of the server says what."),
        };
        Self { status, message: message.to_owned() }
    }
}

/// What stands in a field, if anything does.
pub(crate) fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A request that does not get through.
pub(crate) fn refused(status: StatusCode, message: &str) -> Response {
    PageError::new(status, message).into_response()
}

pub(crate) async fn not_found(uri: Uri) -> PageError {
    PageError::not_found(format!("There is no page {}.", uri.path()))
}
