//! List, stat, move, and the making of a bucket, over the JSON API.

use base64::{Engine, engine::general_purpose::STANDARD};
use google_cloud_auth::credentials::CacheableResource;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{Bucket, Error};

/// Objects in one page of a listing: the most that the service gives.
const PAGE: &str = "1000";

/// What is known of an object without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: i64,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum.
    pub crc32c: u32,
}

/// How a move ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// Now.
    Done,
    /// There is nothing (of that generation) to move.
    NoSource,
    /// Something is there already.
    DestinationExists,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    generation: String,
    size: String,
    crc32c: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    #[serde(default)]
    items: Vec<Resource>,
    next_page_token: Option<String>,
}

impl Bucket {
    /// What is known of an object; none if it is not there.
    ///
    /// # Errors
    /// The bucket cannot be reached.
    pub async fn stat(&self, object: &str) -> Result<Option<Object>, Error> {
        let response = self.call(("stat", object), Method::GET, &self.object_path(object), &[], None).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => body::<Resource>("stat", object, response).await?.parse().map(Some),
            _ => Err(failed("stat", object, response).await),
        }
    }

    /// The objects whose names begin with `prefix`, from `start` on, in the order of their names.
    ///
    /// # Errors
    /// The bucket cannot be reached, or is not there.
    pub async fn list(&self, prefix: &str, start: &str) -> Result<Vec<Object>, Error> {
        let path = format!("/storage/v1/b/{}/o", self.name());
        let (mut objects, mut token) = (Vec::new(), String::new());
        loop {
            let query = [("prefix", prefix), ("startOffset", start), ("maxResults", PAGE), ("pageToken", &token)];
            let query: Vec<_> = query.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            let response = self.call(("list", prefix), Method::GET, &path, &query, None).await?;
            if !response.status().is_success() {
                return Err(failed("list", prefix, response).await);
            }
            let page: Listing = body("list", prefix, response).await?;
            for resource in page.items {
                objects.push(resource.parse()?);
            }
            match page.next_page_token {
                Some(next) => token = next,
                None => return Ok(objects),
            }
        }
    }

    /// Renames an object in one step, if it still has that generation and nothing has the new name. (Without the
    /// second condition the service overwrites.)
    ///
    /// # Errors
    /// The bucket cannot be reached; whether the move happened is then unknown, and asking again is safe.
    pub async fn move_new(&self, from: &str, generation: i64, to: &str) -> Result<Moved, Error> {
        let path = format!("{}/moveTo/o/{}", self.object_path(from), encode(to));
        let generation = generation.to_string();
        let query = [("ifGenerationMatch", "0"), ("ifSourceGenerationMatch", generation.as_str())];
        let response = self.call(("move", from), Method::POST, &path, &query, None).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(Moved::NoSource),
            // Either condition: who asks tells them apart by looking at the destination.
            StatusCode::PRECONDITION_FAILED => Ok(match self.stat(to).await? {
                Some(_) => Moved::DestinationExists,
                None => Moved::NoSource,
            }),
            status if status.is_success() => Ok(Moved::Done),
            _ => Err(failed("move", from, response).await),
        }
    }

    /// Makes the bucket if it is not there. For the local stack: in the cloud, Terraform makes it.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn ensure(&self) -> Result<(), Error> {
        let new = json!({ "name": self.name() });
        let response = self.call(("make", self.name()), Method::POST, "/storage/v1/b", &[], Some(new)).await?;
        match response.status() {
            StatusCode::CONFLICT => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(failed("make", self.name(), response).await),
        }
    }

    fn object_path(&self, object: &str) -> String {
        format!("/storage/v1/b/{}/o/{}", self.name(), encode(object))
    }

    async fn call(
        &self,
        (call, object): (&'static str, &str),
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        json: Option<serde_json::Value>,
    ) -> Result<Response, Error> {
        let fail = |reason: String| Error::Failed { call, object: object.to_owned(), reason };
        let headers = match self.credentials.headers(Default::default()).await {
            Ok(CacheableResource::New { data, .. }) => data,
            Ok(CacheableResource::NotModified) => Default::default(),
            Err(error) => return Err(fail(error.to_string())),
        };
        let mut request = self.http.request(method, format!("{}{path}", self.endpoint)).headers(headers).query(query);
        request = match json {
            Some(json) => request.json(&json),
            None => request.header("content-length", "0"),
        };
        request.send().await.map_err(|error| fail(error.to_string()))
    }
}

impl Resource {
    fn parse(self) -> Result<Object, Error> {
        let checksum = STANDARD.decode(&self.crc32c).ok().and_then(|bytes| bytes.try_into().ok());
        match (self.generation.parse(), self.size.parse(), checksum) {
            (Ok(generation), Ok(size), Some(checksum)) => {
                Ok(Object { name: self.name, generation, size, crc32c: u32::from_be_bytes(checksum) })
            }
            _ => Err(Error::Failed {
                call: "stat",
                object: self.name,
                reason: "the service described it in another way than it should".to_owned(),
            }),
        }
    }
}

async fn body<T: serde::de::DeserializeOwned>(
    call: &'static str,
    object: &str,
    response: Response,
) -> Result<T, Error> {
    response.json().await.map_err(|error| Error::Failed { call, object: object.to_owned(), reason: error.to_string() })
}

async fn failed(call: &'static str, object: &str, response: Response) -> Error {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    match status {
        StatusCode::NOT_FOUND => Error::NotFound { object: object.to_owned() },
        StatusCode::PRECONDITION_FAILED => Error::Precondition { object: object.to_owned() },
        _ => Error::Failed { call, object: object.to_owned(), reason: format!("{status}: {text}") },
    }
}

/// An object's name as one segment of a path.
fn encode(object: &str) -> String {
    let mut encoded = String::with_capacity(object.len() + 16);
    for byte in object.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
