//! The routes of the JSON API. Names of objects hold encoded slashes, so paths are taken apart here.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use serde_json::{Value, json};

use super::{
    disk::Disk,
    object::{ApiError, Conditions, Object},
    upload::{self, Range, Session},
};

/// The largest body: more than any file of the worker.
const BODY_BYTES_MAX: usize = 2 << 30;

/// The most objects in one page of a listing.
const PAGE_MAX: usize = 1_000;

/// The emulator's state.
#[derive(Debug)]
pub(super) struct Emulator {
    inner: Mutex<(Disk, HashMap<String, Session>)>,
    /// Where clients reach it. Google's send the name of the real service as `Host`, wherever they are pointed.
    address: SocketAddr,
}

type Params = HashMap<String, String>;

impl Emulator {
    pub(super) fn new(disk: Disk, address: SocketAddr) -> Self {
        Self { inner: Mutex::new((disk, HashMap::new())), address }
    }
}

pub(super) fn router(emulator: Arc<Emulator>) -> Router {
    Router::new().fallback(handle).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(emulator)
}

async fn handle(
    State(emulator): State<Arc<Emulator>>,
    method: Method,
    uri: Uri,
    Query(params): Query<Params>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // Flushing to disk blocks: not on the thread that serves everybody else.
    let answer = tokio::task::spawn_blocking(move || {
        let mut inner = emulator.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (disk, sessions) = &mut *inner;
        let address = emulator.address;
        let request = Request { method, path: uri.path(), params: &params, headers: &headers, body, address };
        request.answer(disk, sessions).unwrap_or_else(IntoResponse::into_response)
    });
    answer.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

struct Request<'a> {
    method: Method,
    path: &'a str,
    params: &'a Params,
    headers: &'a HeaderMap,
    body: Bytes,
    address: SocketAddr,
}

impl Request<'_> {
    fn answer(&self, disk: &mut Disk, sessions: &mut HashMap<String, Session>) -> Result<Response, ApiError> {
        let path = self.path.strip_prefix("/resumable").unwrap_or(self.path);
        if let Some(bucket) = path.strip_prefix("/upload/storage/v1/b/").and_then(|rest| rest.strip_suffix("/o")) {
            return self.upload(disk, sessions, bucket);
        }
        let path = path.strip_prefix("/download").unwrap_or(path);
        let rest = path.strip_prefix("/storage/v1/b").ok_or_else(|| ApiError::not_found("Not Found"))?;
        let segments: Vec<_> = rest.split('/').skip(1).map(decode).collect();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        match (self.method.as_str(), segments.as_slice()) {
            ("POST", [] | [""]) => self.make_bucket(disk),
            ("GET", [] | [""]) => Ok(Json(json!({ "kind": "storage#buckets", "items": disk.buckets().map(|name| bucket(name)).collect::<Vec<_>>() })).into_response()),
            ("GET", [name]) => disk.objects(name).map(|_| Json(bucket(name)).into_response()),
            ("GET", [bucket, "o"]) => self.list(disk, bucket),
            ("GET", [bucket, "o", name]) => self.get(disk, bucket, name),
            ("DELETE", [bucket, "o", name]) => {
                disk.delete(bucket, name, self.conditions("")?)?;
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            ("POST", [bucket, "o", from, "moveTo", "o", to]) => {
                let ends = ((*from, self.conditions("Source")?), (*to, self.conditions("")?));
                Ok(Json(disk.rename(bucket, ends.0, ends.1)?.resource()).into_response())
            }
            _ => Err(ApiError::not_found("Not Found")),
        }
    }

    fn make_bucket(&self, disk: &mut Disk) -> Result<Response, ApiError> {
        let body: Value = serde_json::from_slice(&self.body).map_err(|error| ApiError::invalid(error.to_string()))?;
        let name = body["name"].as_str().unwrap_or_default();
        disk.make_bucket(name)?;
        Ok(Json(bucket(name)).into_response())
    }

    fn get(&self, disk: &Disk, bucket: &str, name: &str) -> Result<Response, ApiError> {
        let object = disk.get(bucket, name)?;
        if self.params.get("generation").is_some_and(|wanted| *wanted != object.generation.to_string()) {
            return Err(ApiError::no_object(bucket, name));
        }
        self.conditions("")?.check(Some(object))?;
        if self.params.get("alt").is_none_or(|alt| alt != "media") {
            return Ok(Json(object.resource()).into_response());
        }
        let data = disk.read(object)?;
        let range = self.headers.get("range").and_then(|value| value.to_str().ok());
        media(object, data, range)
    }

    /// A page of names in order; the token is the last name of the page before.
    fn list(&self, disk: &Disk, bucket: &str) -> Result<Response, ApiError> {
        let param = |name: &str| self.params.get(name).map_or("", String::as_str);
        let (prefix, delimiter) = (param("prefix"), param("delimiter"));
        let limit = param("maxResults").parse().unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let token = URL_SAFE.decode(param("pageToken")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let token = token.unwrap_or_default();
        let (mut items, mut prefixes, mut last, mut next) = (Vec::new(), Vec::<String>::new(), String::new(), None);
        for (name, object) in disk.objects(bucket)?.range(prefix.max(param("startOffset")).to_owned()..) {
            if !name.starts_with(prefix) || (!param("endOffset").is_empty() && name.as_str() >= param("endOffset")) {
                break;
            }
            let folder = match delimiter {
                "" => None,
                delimiter => {
                    name[prefix.len()..].find(delimiter).map(|at| &name[..prefix.len() + at + delimiter.len()])
                }
            };
            let key = folder.unwrap_or(name);
            if (!token.is_empty() && key <= token.as_str()) || prefixes.last().is_some_and(|last| last == key) {
                continue;
            }
            if items.len() + prefixes.len() == limit {
                next = Some(URL_SAFE.encode(&last));
                break;
            }
            match folder {
                Some(folder) => prefixes.push(folder.to_owned()),
                None => items.push(object.resource()),
            }
            key.clone_into(&mut last);
        }
        Ok(Json(json!({ "kind": "storage#objects", "items": items, "prefixes": prefixes, "nextPageToken": next }))
            .into_response())
    }

    fn upload(
        &self,
        disk: &mut Disk,
        sessions: &mut HashMap<String, Session>,
        bucket: &str,
    ) -> Result<Response, ApiError> {
        let name = self.params.get("name");
        let kind = self.params.get("uploadType").map_or("", String::as_str);
        match (self.method.as_str(), kind) {
            ("POST", "media") => {
                let mut new = upload::resource(&[], name)?;
                new.content_type = self.header("content-type");
                Ok(Json(disk.put(bucket, new, &self.body, self.conditions("")?)?.resource()).into_response())
            }
            ("POST", "multipart") => {
                let (new, data) = upload::multipart(self.headers, &self.body, name)?;
                Ok(Json(disk.put(bucket, new, &data, self.conditions("")?)?.resource()).into_response())
            }
            ("POST", "resumable") => self.begin(disk, sessions, bucket),
            ("PUT", "resumable") => self.resume(disk, sessions),
            ("DELETE", "resumable") => {
                sessions.remove(self.params.get("upload_id").map_or("", String::as_str));
                Ok(StatusCode::from_u16(499).unwrap_or(StatusCode::NO_CONTENT).into_response())
            }
            _ => Err(ApiError::invalid("Unknown uploadType.")),
        }
    }

    fn begin(&self, disk: &Disk, sessions: &mut HashMap<String, Session>, bucket: &str) -> Result<Response, ApiError> {
        let mut new = upload::resource(&self.body, self.params.get("name"))?;
        new.content_type = new.content_type.or_else(|| self.header("x-upload-content-type"));
        let conditions = self.conditions("")?;
        conditions.check(disk.objects(bucket)?.get(&new.name))?;
        let id = format!("{}-{}", sessions.len(), chrono::Utc::now().timestamp_micros());
        let location =
            format!("http://{}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={id}", self.address);
        let session = Session { bucket: bucket.to_owned(), new, conditions, received: Default::default() };
        sessions.insert(id, session);
        Ok((StatusCode::OK, [(header::LOCATION, location)]).into_response())
    }

    fn resume(&self, disk: &mut Disk, sessions: &mut HashMap<String, Session>) -> Result<Response, ApiError> {
        let id = self.params.get("upload_id").map_or("", String::as_str);
        let session = sessions.get_mut(id).ok_or_else(|| ApiError::not_found("upload session not found"))?;
        let total = match upload::content_range(self.headers)? {
            Range::Whole => {
                session.received.clear();
                session.received.extend_from_slice(&self.body);
                Some(self.body.len())
            }
            Range::From(from, total) => {
                session.received.truncate(from);
                session.received.extend_from_slice(&self.body);
                total
            }
            Range::Status(total) => total,
        };
        if total != Some(session.received.len()) {
            let mut response = StatusCode::PERMANENT_REDIRECT.into_response();
            if let Some(last) = session.received.len().checked_sub(1)
                && let Ok(range) = format!("bytes=0-{last}").parse()
            {
                response.headers_mut().insert(header::RANGE, range);
            }
            return Ok(response);
        }
        let data = Bytes::copy_from_slice(&session.received);
        let (bucket, new, conditions) = (session.bucket.clone(), session.new.clone(), session.conditions);
        let object = disk.put(&bucket, new, &data, conditions)?;
        sessions.remove(id);
        Ok(Json(object.resource()).into_response())
    }

    fn conditions(&self, of: &str) -> Result<Conditions, ApiError> {
        let condition = |name: &str| -> Result<Option<i64>, ApiError> {
            let name = format!("if{of}{name}");
            let parsed = self.params.get(&name).map(|text| text.parse()).transpose();
            parsed.map_err(|_| ApiError::invalid(format!("Invalid value for {name}.")))
        };
        Ok(Conditions {
            if_generation_match: condition("GenerationMatch")?,
            if_generation_not_match: condition("GenerationNotMatch")?,
            if_metageneration_match: condition("MetagenerationMatch")?,
            if_metageneration_not_match: condition("MetagenerationNotMatch")?,
        })
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(ToOwned::to_owned)
    }
}

/// The data of an object, or the range of it that was asked for.
fn media(object: &Object, data: Bytes, range: Option<&str>) -> Result<Response, ApiError> {
    let length = data.len();
    let (status, part) = match range.and_then(|range| byte_range(range, length)) {
        Some(Ok(part)) => (StatusCode::PARTIAL_CONTENT, part),
        Some(Err(())) => {
            let unsatisfied = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied).into_response());
        }
        None => (StatusCode::OK, 0..length),
    };
    let mut response = Response::builder()
        .status(status)
        .header("content-type", &object.content_type)
        .header("x-goog-generation", object.generation)
        .header("x-goog-metageneration", object.metageneration)
        .header("x-goog-stored-content-length", object.size)
        .header("x-goog-stored-content-encoding", "identity")
        .header("x-goog-storage-class", "STANDARD")
        .header("x-goog-hash", format!("crc32c={}", object.crc32c_text()))
        .header("etag", format!("E{}", object.generation))
        .header("accept-ranges", "bytes");
    if status == StatusCode::PARTIAL_CONTENT {
        let last = part.end.saturating_sub(1);
        response = response.header("content-range", format!("bytes {}-{last}/{length}", part.start));
    }
    response.body(Body::from(data.slice(part))).map_err(|error| ApiError::invalid(error.to_string()))
}

/// `bytes=0-9`, `bytes=10-`, `bytes=-5`; none if it is no range, an error if it lies outside.
fn byte_range(range: &str, length: usize) -> Option<Result<std::ops::Range<usize>, ()>> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    if from.is_empty() {
        let last: usize = to.parse().ok()?;
        return Some(Ok(length.saturating_sub(last)..length));
    }
    let from: usize = from.parse().ok()?;
    let end = if to.is_empty() { length } else { to.parse::<usize>().ok()?.saturating_add(1).min(length) };
    Some(if from < length && from < end { Ok(from..end) } else { Err(()) })
}

fn bucket(name: &str) -> Value {
    json!({ "kind": "storage#bucket", "id": name, "name": name, "location": "US", "storageClass": "STANDARD" })
}

fn decode(segment: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(segment.len()), segment.as_bytes());
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
