//! Errors as Airflow writes them: `{"detail": …}`, and FastAPI's list for what is wrong with a request.

use axum::{
    Json,
    http::{
        StatusCode,
        header::{ALLOW, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use orchestrator::{
    commands::{Kind, Refused},
    secrets::SecretError,
};
use serde_json::{Value, json};

use crate::auth::Lacking;

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: Value,
}

/// What a handler answers with.
pub(crate) type ApiResult<T = Json<Value>> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text.into())
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text.into())
    }

    /// One thing that is wrong with the request, at `place`.
    pub(crate) fn invalid(kind: &str, place: Value, message: impl Into<String>, input: Value) -> Self {
        Self::invalid_all(vec![fault(kind, place, message, input)])
    }

    /// As it stands in the answer to a request that may have done other things.
    pub(crate) fn told(&self) -> Value {
        json!({ "error": self.detail, "status_code": self.status.as_u16() })
    }

    /// Everything that is wrong with the request.
    pub(crate) fn invalid_all(faults: Vec<Value>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, faults)
    }
}

/// FastAPI's description of a fault.
pub(crate) fn fault(kind: &str, place: Value, message: impl Into<String>, input: Value) -> Value {
    json!({ "type": kind, "loc": place, "msg": message.into(), "input": input })
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "detail": self.detail }))).into_response()
    }
}

/// What the router and its extractors refuse by themselves, a method or a body that is too long, as Airflow says it.
pub(crate) async fn in_airflows_shape(response: Response) -> Response {
    let is_json =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let status = response.status();
    if is_json || !matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::PAYLOAD_TOO_LARGE) {
        return response;
    }
    let allowed = response.headers().get(ALLOW).cloned();
    let mut told = ApiError::new(status, status.canonical_reason().unwrap_or_default()).into_response();
    if let Some(allowed) = allowed {
        told.headers_mut().insert(ALLOW, allowed);
    }
    told
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::from(anyhow::Error::from(error))
    }
}

impl From<Lacking> for ApiError {
    fn from(lacking: Lacking) -> Self {
        Self::new(StatusCode::FORBIDDEN, lacking.to_string())
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        Self::new(StatusCode::CONFLICT, error.to_string())
    }
}

impl From<anyhow::Error> for ApiError {
    /// The cause goes to the log; the caller learns that it was not the request's fault.
    fn from(error: anyhow::Error) -> Self {
        let error = match error.downcast::<SecretError>() {
            Ok(sealed) => return sealed.into(),
            Err(error) => error,
        };
        tracing::error!(error = format!("{error:#}"), "a request failed");
        let unavailable = error.downcast_ref::<sqlx::Error>().is_some_and(orchestrator::store::is_transient);
        match unavailable {
            true => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; try again in a moment"),
            false => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match (refused.kind(), refused) {
            (_, Refused::Failed(error)) => error.into(),
            (Kind::Missing, _) => Self::not_found(message),
            (Kind::Conflict, _) => Self::new(StatusCode::CONFLICT, message),
            (Kind::Unfit | Kind::Failed, _) => Self::bad_request(message),
            (Kind::Duplicate, _) => Self::new(
                StatusCode::CONFLICT,
                json!({
                    "reason": "Unique constraint violation", "statement": "hidden", "orig_error": "hidden",
                    "message": message,
                }),
            ),
        }
    }
}
