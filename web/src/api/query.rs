//! Query strings as FastAPI reads them: keys may repeat, unknown ones are ignored.

use std::borrow::Cow;

use axum::{
    Json,
    extract::Query,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use orchestrator::store::pages::Page;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{
    body::Body,
    error::{ApiError, ApiResult},
};

/// Airflow's `[api] maximum_page_limit`; more is silently so many.
const LIMIT_MAX: i64 = 100;

/// Airflow's `[api] fallback_page_limit`.
const LIMIT: i64 = 50;

/// The pairs of a query string, or of a body that says the same.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    /// Where faults are said to be.
    pub(super) place: &'static str,
    /// The length of a page, if nobody says another.
    limit: i64,
}

impl Params {
    pub(crate) fn of(uri: &Uri) -> ApiResult<Self> {
        let pairs = Query::try_from_uri(uri).map_err(|error| ApiError::bad_request(error.to_string()))?;
        Ok(Self { pairs: pairs.0, place: "query", limit: LIMIT })
    }

    /// What the body of a request for a list says: `names` are its keys and how a query string calls them.
    pub(crate) fn of_body(body: &Body, names: &[(Cow<'_, str>, Cow<'_, str>)]) -> ApiResult<Self> {
        let mut pairs = Vec::new();
        for (key, name) in names {
            let values = match body.value(key) {
                None => continue,
                Some(Value::Array(values)) => values.as_slice(),
                Some(value) => std::slice::from_ref(value),
            };
            for value in values {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    Value::Null => "none".to_owned(),
                    other => {
                        let message = "Input should be a valid string";
                        return Err(ApiError::invalid("string_type", json!(["body", key]), message, other.clone()));
                    }
                };
                pairs.push((name.to_string(), text));
            }
        }
        Ok(Self { pairs, place: "body", limit: LIMIT_MAX })
    }

    /// Every value of a key.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.pairs.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    /// The value of a key; the last one if it repeats.
    pub(crate) fn one(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A boolean, as pydantic reads one.
    pub(crate) fn flag(&self, key: &str) -> ApiResult<Option<bool>> {
        let Some(text) = self.one(key) else { return Ok(None) };
        match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Ok(Some(true)),
            "false" | "0" | "no" | "off" | "f" | "n" => Ok(Some(false)),
            _ => {
                let message = "Input should be a valid boolean, unable to interpret input";
                Err(ApiError::invalid("bool_parsing", json!([self.place, key]), message, text.into()))
            }
        }
    }

    /// Every value of a key, each a whole number.
    pub(crate) fn integers(&self, key: &str) -> ApiResult<Vec<i32>> {
        let message = "Input should be a valid integer, unable to parse string as an integer";
        let refuse = |text: &str| ApiError::invalid("int_parsing", json!([self.place, key]), message, text.into());
        self.all(key).iter().map(|text| text.parse().map_err(|_| refuse(text))).collect()
    }

    /// A whole number.
    pub(crate) fn integer(&self, key: &str) -> ApiResult<Option<i32>> {
        let Some(text) = self.one(key) else { return Ok(None) };
        let message = "Input should be a valid integer, unable to parse string as an integer";
        let refuse = |_| ApiError::invalid("int_parsing", json!([self.place, key]), message, text.into());
        text.parse().map(Some).map_err(refuse)
    }

    /// `limit` and `offset`.
    pub(crate) fn page(&self) -> ApiResult<Page> {
        Ok(Page { limit: self.count("limit", self.limit)?.min(LIMIT_MAX), offset: self.count("offset", 0)? })
    }

    fn count(&self, key: &str, default: i64) -> ApiResult<i64> {
        let Some(text) = self.one(key) else { return Ok(default) };
        let at = json!([self.place, key]);
        match text.parse::<i64>() {
            Ok(count) if count >= 0 => Ok(count),
            Ok(_) => Err(ApiError::invalid(
                "greater_than_equal",
                at,
                "Input should be greater than or equal to 0",
                text.into(),
            )),
            Err(_) => {
                let message = "Input should be a valid integer, unable to parse string as an integer";
                Err(ApiError::invalid("int_parsing", at, message, text.into()))
            }
        }
    }

    /// States, each of which must be one of `known`. Airflow answers an unknown one with a text, not with a list.
    pub(crate) fn states<S: Copy>(&self, key: &str, what: &str, known: &[(&str, S)]) -> ApiResult<Vec<S>> {
        let find = |text: String| known.iter().find(|(name, _)| *name == text).map(|(_, state)| *state);
        let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let unknown = || {
            ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("Invalid value for {what}. Valid values are {}", names()),
            )
        };
        self.all(key).into_iter().map(|text| find(text).ok_or_else(unknown)).collect()
    }
}

/// A page of a long list, written as it goes.
pub(crate) fn page_of<R: Serialize>(plural: &'static str, rows: &[R], total: i64) -> Response {
    Json(Listing { plural, rows, total }).into_response()
}

struct Listing<'r, R> {
    plural: &'static str,
    rows: &'r [R],
    total: i64,
}

impl<R: Serialize> Serialize for Listing<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(Some(2))?;
        fields.serialize_entry(self.plural, self.rows)?;
        fields.serialize_entry("total_entries", &self.total)?;
        fields.end()
    }
}

/// A list, as every list of the API is written.
pub(crate) fn listed(plural: &str, rows: Vec<Value>, total: i64) -> Value {
    json!({ plural: rows, "total_entries": total })
}
