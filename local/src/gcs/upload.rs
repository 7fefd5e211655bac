//! The three ways to upload: plain, multipart, resumable.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use super::{
    disk::NewObject,
    object::{ApiError, Conditions},
};

/// A resumable upload that has begun.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) bucket: String,
    pub(super) new: NewObject,
    pub(super) conditions: Conditions,
    pub(super) received: BytesMut,
}

/// The object resource of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    name: Option<String>,
    content_type: Option<String>,
    crc32c: Option<String>,
    metadata: BTreeMap<String, String>,
}

/// Reads the object resource; the name may stand in the query instead.
pub(super) fn resource(json: &[u8], name: Option<&String>) -> Result<NewObject, ApiError> {
    let parsed = if json.is_empty() { Ok(Resource::default()) } else { serde_json::from_slice(json) };
    let resource: Resource = parsed.map_err(|error| ApiError::invalid(error.to_string()))?;
    let name = resource.name.or_else(|| name.cloned()).ok_or_else(|| ApiError::invalid("Required: name"))?;
    let crc32c = resource.crc32c.and_then(|text| STANDARD.decode(text).ok()?.try_into().ok()).map(u32::from_be_bytes);
    Ok(NewObject { name, content_type: resource.content_type, metadata: resource.metadata, crc32c })
}

/// Takes a multipart body apart: the resource, then the data.
pub(super) fn multipart(
    headers: &HeaderMap,
    body: &Bytes,
    name: Option<&String>,
) -> Result<(NewObject, Bytes), ApiError> {
    let invalid = || ApiError::invalid("Malformed multipart body.");
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).ok_or_else(invalid)?;
    let boundary = content_type.split("boundary=").nth(1).ok_or_else(invalid)?.trim_matches(['"', ';', ' ']);
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut at = find(body, delimiter.as_bytes(), 0).ok_or_else(invalid)?;
    while let Some(end) = find(body, delimiter.as_bytes(), at + delimiter.len()) {
        let part = body.slice(at + delimiter.len()..end);
        let header_end = find(&part, b"\r\n\r\n", 0).ok_or_else(invalid)? + 4;
        let data_end = part.len().checked_sub(2).filter(|end| *end >= header_end).ok_or_else(invalid)?;
        parts.push((part.slice(..header_end), part.slice(header_end..data_end)));
        at = end;
    }
    let [(_, json), (data_headers, data)] = <[_; 2]>::try_from(parts).map_err(|_| invalid())?;
    let mut new = resource(&json, name)?;
    if new.content_type.is_none() {
        let headers = String::from_utf8_lossy(&data_headers).to_lowercase();
        let line =
            headers.lines().find_map(|line| line.strip_prefix("content-type:").map(|value| value.trim().to_owned()));
        new.content_type = line;
    }
    Ok((new, data))
}

/// The part of a resumable upload that a request brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Range {
    /// Everything, in one request.
    Whole,
    /// Bytes from here on; the total if this is the last part.
    From(usize, Option<usize>),
    /// Nothing: a question of how much has arrived; the total if it is known.
    Status(Option<usize>),
}

/// Reads `Content-Range`: `bytes 0-9/10`, `bytes 0-9/*`, `bytes */10`, `bytes */*`.
pub(super) fn content_range(headers: &HeaderMap) -> Result<Range, ApiError> {
    let Some(value) = headers.get("content-range") else { return Ok(Range::Whole) };
    let parse = || {
        let (bytes, total) = value.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        match bytes.split_once('-') {
            Some((from, _)) => Some(Range::From(from.parse().ok()?, total)),
            None => Some(Range::Status(total)),
        }
    };
    parse().ok_or_else(|| ApiError::invalid("Malformed Content-Range."))
}

fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    haystack.get(from..)?.windows(needle.len()).position(|window| window == needle).map(|at| at + from)
}
