//! Request bodies as FastAPI checks them: unknown keys are refused, all faults are told at once.

use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{HeaderMap, request},
};

use chrono::{DateTime, Datelike, Utc};
use serde_json::{Map, Value, json};

use super::{
    error::{ApiError, ApiResult, fault},
    filters::YEARS,
    query::Params,
};

/// The longest remark.
const NOTE_MAX: usize = 1_000;

fn not_an_object(input: Value) -> ApiError {
    let message = "Input should be a valid dictionary or object to extract fields from";
    ApiError::invalid("model_attributes_type", json!(["body"]), message, input)
}

/// Any JSON that the database can hold.
pub(crate) fn any_json(bytes: &Bytes) -> ApiResult<Value> {
    let value = serde_json::from_slice(bytes).map_err(|error| {
        let mut fault = fault("json_invalid", json!(["body", error.column()]), "JSON decode error", json!({}));
        fault["ctx"] = json!({ "error": error.to_string() });
        ApiError::invalid_all(vec![fault])
    })?;
    match has_nul(&value) {
        false => Ok(value),
        true => Err(ApiError::invalid("value_error", json!(["body"]), "A NUL character cannot be kept", Value::Null)),
    }
}

/// Postgres has no text with a NUL character.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `update_mask`: the fields of a body that count; without one, all.
#[derive(Debug)]
pub(crate) struct Mask(pub(super) Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for Mask {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> ApiResult<Self> {
        Ok(Self(Params::of(&parts.uri)?.all("update_mask")))
    }
}

/// A JSON object whose keys are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// Reads an object that has the `required` keys and none but the `allowed` ones.
    pub(crate) fn read(headers: &HeaderMap, bytes: &Bytes, required: &[&str], allowed: &[&str]) -> ApiResult<Self> {
        let is_json = headers
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        if bytes.is_empty() {
            return Err(ApiError::invalid("missing", json!(["body"]), "Field required", Value::Null));
        }
        if !is_json {
            return Err(not_an_object(String::from_utf8_lossy(bytes).into()));
        }
        Self::of(any_json(bytes)?, required, allowed)
    }

    /// The same of a value that stands in another body.
    pub(crate) fn of(value: Value, required: &[&str], allowed: &[&str]) -> ApiResult<Self> {
        let Value::Object(object) = value else { return Err(not_an_object(value)) };
        let missing = required.iter().filter(|key| !object.contains_key(**key));
        let mut faults: Vec<_> =
            missing.map(|key| fault("missing", json!(["body", key]), "Field required", json!(object))).collect();
        let extra = object.iter().filter(|(key, _)| !allowed.contains(&key.as_str()));
        let message = "Extra inputs are not permitted";
        faults.extend(extra.map(|(key, value)| fault("extra_forbidden", json!(["body", key]), message, value.clone())));
        if faults.is_empty() { Ok(Self(object)) } else { Err(ApiError::invalid_all(faults)) }
    }

    /// Leaves what the mask names, and what it need not name.
    pub(crate) fn masked(mut self, Mask(fields): &Mask, always: &[&str]) -> Self {
        self.0.retain(|key, _| fields.is_empty() || fields.contains(key) || always.contains(&key.as_str()));
        self
    }

    /// Leaves what has a value.
    pub(crate) fn with_values(mut self) -> Self {
        self.0.retain(|_, value| !value.is_null());
        self
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn whole(&self) -> Value {
        Value::Object(self.0.clone())
    }

    pub(crate) fn text(&self, key: &str) -> ApiResult<Option<String>> {
        self.read_as(key, "string_type", "Input should be a valid string", |value| {
            value.as_str().map(ToOwned::to_owned)
        })
    }

    /// A remark, as long as Airflow's may be.
    pub(crate) fn note(&self) -> ApiResult<Option<String>> {
        let note = self.text("note")?;
        match note {
            Some(note) if note.chars().count() > NOTE_MAX => {
                let message = format!("String should have at most {NOTE_MAX} characters");
                Err(ApiError::invalid("string_too_long", json!(["body", "note"]), message, note.into()))
            }
            fit => Ok(fit),
        }
    }

    pub(crate) fn object(&self, key: &str) -> ApiResult<Option<Value>> {
        self.read_as(key, "dict_type", "Input should be a valid dictionary", |value| {
            value.is_object().then(|| value.clone())
        })
    }

    /// A list; none is an empty one.
    pub(crate) fn list(&self, key: &str) -> ApiResult<Vec<Value>> {
        let read = self.read_as(key, "list_type", "Input should be a valid list", |value| value.as_array().cloned());
        Ok(read?.unwrap_or_default())
    }

    pub(crate) fn integer(&self, key: &str) -> ApiResult<Option<i32>> {
        self.read_as(key, "int_type", "Input should be a valid integer", |value| i32::try_from(value.as_i64()?).ok())
    }

    /// A boolean; absent is the default, null is refused.
    pub(crate) fn flag(&self, key: &str, default: bool) -> ApiResult<bool> {
        match self.0.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(ApiError::invalid(
                "bool_type",
                json!(["body", key]),
                "Input should be a valid boolean",
                other.clone(),
            )),
        }
    }

    /// An instant with a zone.
    pub(crate) fn instant(&self, key: &str) -> ApiResult<Option<DateTime<Utc>>> {
        self.read_as(key, "timezone_aware", "Input should be a valid datetime with timezone info", |value| {
            let at = DateTime::parse_from_rfc3339(value.as_str()?).ok()?.with_timezone(&Utc);
            YEARS.contains(&at.year()).then_some(at)
        })
    }

    fn read_as<T>(
        &self,
        key: &str,
        kind: &str,
        message: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> ApiResult<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| ApiError::invalid(kind, json!(["body", key]), message, value.clone()))
    }
}
