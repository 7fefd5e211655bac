//! A bucket of Google Cloud Storage: data through `google-cloud-storage`, and the few control calls that its crate
//! speaks only over gRPC (list, stat, move) over the JSON API. The emulator of the local stack speaks the same API;
//! nothing here asks which one it is.

mod control;

use bytes::Bytes;
use google_cloud_auth::credentials::{self, Credentials};
use google_cloud_storage::client::Storage;

pub use control::{Moved, Object};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object is there already, or has another generation: the precondition does not hold.
    #[error("the precondition on {object} does not hold")]
    Precondition {
        /// The object.
        object: String,
    },
    /// There is no such object (or no such bucket).
    #[error("there is no {object}")]
    NotFound {
        /// The object.
        object: String,
    },
    /// Anything else; trying again may help.
    #[error("{call} {object}: {reason}")]
    Failed {
        /// What was tried.
        call: &'static str,
        /// On what.
        object: String,
        /// Why it failed.
        reason: String,
    },
}

/// Which bucket, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the bucket.
    pub bucket: String,
    /// Another server than Google's: then no credentials are sent.
    pub endpoint: Option<String>,
}

/// A bucket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    name: String,
    endpoint: String,
    data: Storage,
    http: reqwest::Client,
    credentials: Credentials,
}

/// Google's server.
const GOOGLE: &str = "https://storage.googleapis.com";

/// An object that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Its generation.
    pub generation: i64,
    /// Its checksum.
    pub crc32c: u32,
}

impl Bucket {
    /// Opens a bucket: with the credentials of the environment, or with none at another endpoint.
    ///
    /// # Errors
    /// There are no credentials.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let credentials = match settings.endpoint {
            Some(_) => credentials::anonymous::Builder::new().build(),
            None => credentials::Builder::default().build()?,
        };
        let endpoint = settings.endpoint.clone().unwrap_or_else(|| GOOGLE.to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let data =
            Storage::builder().with_endpoint(endpoint.clone()).with_credentials(credentials.clone()).build().await?;
        Ok(Self { name: settings.bucket.clone(), endpoint, data, http: reqwest::Client::new(), credentials })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes an object that must not be there yet.
    ///
    /// # Errors
    /// [`Error::Precondition`] if it is there; it may be there because an earlier try of ours came through.
    pub async fn create(&self, object: &str, data: Bytes) -> Result<Written, Error> {
        let crc32c = crc32c::crc32c(&data);
        let resource = format!("projects/_/buckets/{}", self.name);
        let write = self.data.write_object(resource, object, data).set_if_generation_match(0).with_known_crc32c(crc32c);
        // The client's future is tens of kilobytes; it must not be part of everybody else's.
        match Box::pin(write.send_buffered()).await {
            Ok(written) => Ok(Written { generation: written.generation, crc32c }),
            Err(error) => Err(data_error("write", object, &error)),
        }
    }

    /// The whole of an object; none if it is not there.
    ///
    /// # Errors
    /// The bucket cannot be reached.
    pub async fn read(&self, object: &str) -> Result<Option<Bytes>, Error> {
        let resource = format!("projects/_/buckets/{}", self.name);
        let mut response = match self.data.read_object(resource, object).send().await {
            Ok(response) => response,
            Err(error) => {
                return match data_error("read", object, &error) {
                    Error::NotFound { .. } => Ok(None),
                    other => Err(other),
                };
            }
        };
        let mut contents = Vec::new();
        while let Some(chunk) = response.next().await {
            contents.extend_from_slice(&chunk.map_err(|error| data_error("read", object, &error))?);
        }
        Ok(Some(contents.into()))
    }
}

fn data_error(call: &'static str, object: &str, error: &google_cloud_storage::Error) -> Error {
    match error.http_status_code() {
        Some(412) => Error::Precondition { object: object.to_owned() },
        Some(404) => Error::NotFound { object: object.to_owned() },
        _ => Error::Failed { call, object: object.to_owned(), reason: error.to_string() },
    }
}
