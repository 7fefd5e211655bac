//! What is known about an object, the conditions of a request, and the errors of the API.

use std::collections::BTreeMap;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The metadata of an object, as it is kept on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) bucket: String,
    pub(super) name: String,
    pub(super) generation: i64,
    pub(super) metageneration: i64,
    pub(super) size: u64,
    pub(super) crc32c: u32,
    pub(super) content_type: String,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) created: DateTime<Utc>,
    /// The object that this one was moved from: a move that was interrupted is ended at the next start.
    pub(super) moved_from: Option<(String, i64)>,
}

impl Object {
    /// The checksum as the API writes it.
    pub(super) fn crc32c_text(&self) -> String {
        STANDARD.encode(self.crc32c.to_be_bytes())
    }

    /// The `storage#object` resource.
    pub(super) fn resource(&self) -> Value {
        let created = self.created.to_rfc3339_opts(SecondsFormat::Millis, true);
        json!({
            "kind": "storage#object",
            "id": format!("{}/{}/{}", self.bucket, self.name, self.generation),
            "name": self.name,
            "bucket": self.bucket,
            "generation": self.generation.to_string(),
            "metageneration": self.metageneration.to_string(),
            "size": self.size.to_string(),
            "crc32c": self.crc32c_text(),
            "contentType": self.content_type,
            "metadata": self.metadata,
            "storageClass": "STANDARD",
            "etag": format!("E{}", self.generation),
            "timeCreated": created,
            "updated": created,
        })
    }
}

/// The conditions of a request: `ifGenerationMatch` and its kin.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conditions {
    pub(super) if_generation_match: Option<i64>,
    pub(super) if_generation_not_match: Option<i64>,
    pub(super) if_metageneration_match: Option<i64>,
    pub(super) if_metageneration_not_match: Option<i64>,
}

impl Conditions {
    /// Holds them against what is there; nothing has generation 0.
    pub(super) fn check(&self, object: Option<&Object>) -> Result<(), ApiError> {
        let generation = object.map_or(0, |object| object.generation);
        let metageneration = object.map_or(0, |object| object.metageneration);
        let holds = self.if_generation_match.is_none_or(|wanted| wanted == generation)
            && self.if_generation_not_match.is_none_or(|unwanted| unwanted != generation)
            && self.if_metageneration_match.is_none_or(|wanted| wanted == metageneration)
            && self.if_metageneration_not_match.is_none_or(|unwanted| unwanted != metageneration);
        if holds { Ok(()) } else { Err(ApiError::precondition()) }
    }
}

/// An error as the API writes it.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    reason: &'static str,
    message: String,
}

impl ApiError {
    pub(super) fn precondition() -> Self {
        let message = "At least one of the pre-conditions you specified did not hold.".to_owned();
        Self { status: StatusCode::PRECONDITION_FAILED, reason: "conditionNotMet", message }
    }

    pub(super) fn no_object(bucket: &str, name: &str) -> Self {
        Self::not_found(format!("No such object: {bucket}/{name}"))
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, reason: "notFound", message: message.into() }
    }

    pub(super) fn conflict(message: &str) -> Self {
        Self { status: StatusCode::CONFLICT, reason: "conflict", message: message.to_owned() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: "invalid", message: message.into() }
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, reason: "internalError", message: error.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let details = json!({ "message": self.message, "domain": "global", "reason": self.reason });
        let body = json!({ "error": { "code": self.status.as_u16(), "message": self.message, "errors": [details] } });
        (self.status, Json(body)).into_response()
    }
}
