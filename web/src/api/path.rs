//! What a path says, refused as FastAPI refuses it.

use axum::{
    extract::{self, FromRequestParts, RawPathParams, path::ErrorKind, rejection::PathRejection},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::error::{ApiError, ApiResult};

/// The parameters of a path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match extract::Path::from_request_parts(parts, state).await {
            Ok(extract::Path(found)) => Ok(Self(found)),
            Err(rejection) => Err(refused(rejection, parts, state).await),
        }
    }
}

async fn refused<S: Send + Sync>(rejection: PathRejection, parts: &mut Parts, state: &S) -> ApiError {
    let (at, value) = match rejection {
        PathRejection::FailedToDeserializePathParams(error) => match error.into_kind() {
            ErrorKind::ParseErrorAtKey { key, value, .. } => return not_a_number(&key, value),
            ErrorKind::ParseErrorAtIndex { index, value, .. } => (index, value),
            ErrorKind::ParseError { value, .. } => (0, value),
            other => return ApiError::invalid("value_error", json!(["path"]), other.to_string(), json!(null)),
        },
        other => return ApiError::invalid("value_error", json!(["path"]), other.to_string(), json!(null)),
    };
    let names = RawPathParams::from_request_parts(parts, state).await;
    let name = names.ok().and_then(|names| names.iter().nth(at).map(|(name, _)| name.to_owned()));
    not_a_number(name.as_deref().unwrap_or_default(), value)
}

/// Only numbers are parsed: the rest of our paths is text.
fn not_a_number(name: &str, value: String) -> ApiError {
    let message = "Input should be a valid integer, unable to parse string as an integer";
    ApiError::invalid("int_parsing", json!(["path", name]), message, value.into())
}
