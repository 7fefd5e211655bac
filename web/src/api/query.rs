//! Query strings as FastAPI reads them: keys may repeat, unknown ones are ignored.

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use orchestrator::store::pages::Page;
use serde_json::{Value, json};

use super::error::{ApiError, ApiResult};

/// Airflow's `[api] maximum_page_limit`; more is silently so many.
const LIMIT_MAX: i64 = 100;

/// Airflow's `[api] fallback_page_limit`.
const LIMIT: i64 = 50;

/// The pairs of a query string.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn of(uri: &Uri) -> ApiResult<Self> {
        let pairs = Query::try_from_uri(uri).map_err(|error| ApiError::bad_request(error.to_string()))?;
        Ok(Self(pairs.0))
    }

    /// Every value of a key.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    /// The value of a key; the last one if it repeats.
    pub(crate) fn one(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A boolean, as pydantic reads one.
    pub(crate) fn flag(&self, key: &str) -> ApiResult<Option<bool>> {
        let Some(text) = self.one(key) else { return Ok(None) };
        match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Ok(Some(true)),
            "false" | "0" | "no" | "off" | "f" | "n" => Ok(Some(false)),
            _ => {
                let message = "Input should be a valid boolean, unable to interpret input";
                Err(ApiError::invalid("bool_parsing", json!(["query", key]), message, text.into()))
            }
        }
    }

    /// A whole number.
    pub(crate) fn integer(&self, key: &str) -> ApiResult<Option<i32>> {
        let Some(text) = self.one(key) else { return Ok(None) };
        let message = "Input should be a valid integer, unable to parse string as an integer";
        let refuse = |_| ApiError::invalid("int_parsing", json!(["query", key]), message, text.into());
        text.parse().map(Some).map_err(refuse)
    }

    /// `limit` and `offset`.
    pub(crate) fn page(&self) -> ApiResult<Page> {
        Ok(Page { limit: self.count("limit", LIMIT)?.min(LIMIT_MAX), offset: self.count("offset", 0)? })
    }

    fn count(&self, key: &str, default: i64) -> ApiResult<i64> {
        let Some(text) = self.one(key) else { return Ok(default) };
        let at = json!(["query", key]);
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

    /// Refuses an order that is not one of `known`; returns the wanted one.
    pub(crate) fn order<O: Copy>(&self, known: &[(&str, O)], default: O) -> ApiResult<O> {
        let Some(wanted) = self.one("order_by") else { return Ok(default) };
        known.iter().find(|(name, _)| *name == wanted).map(|(_, order)| *order).ok_or_else(|| {
            let attribute = wanted.trim_start_matches('-');
            ApiError::bad_request(format!(
                "Ordering with '{attribute}' is disallowed or the attribute does not exist on the model"
            ))
        })
    }
}

/// A list, as every list of the API is written.
pub(crate) fn listed(plural: &str, rows: Vec<Value>, total: i64) -> Value {
    json!({ plural: rows, "total_entries": total })
}
