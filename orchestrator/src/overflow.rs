//! Results that are too big for the database: Airflow's object storage backend for `XComs`.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ids::AttemptId, store::instances::Claim};

/// A result of more bytes of JSON than this is kept in a bucket.
pub const INLINE_BYTES_MAX: usize = 1024 * 1024;

/// A result may have at most so many bytes of JSON: whoever takes it holds all of it in memory.
pub const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Where they are kept.
#[async_trait]
pub trait Overflow: Send + Sync + fmt::Debug {
    /// Keeps a new object.
    ///
    /// # Errors
    /// The bucket cannot be reached, or refuses.
    async fn put(&self, object: &str, json: Vec<u8>) -> anyhow::Result<()>;

    /// Reads one; none if there is no such object.
    ///
    /// # Errors
    /// The bucket cannot be reached.
    async fn get(&self, object: &str) -> anyhow::Result<Option<Vec<u8>>>;
}

/// What a task returned, wherever it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Stored {
    /// In the database.
    Inline(Value),
    /// In the bucket.
    Object {
        /// Its name there.
        object: String,
        /// How many items it has, if it is a list.
        items: Option<i32>,
    },
}

impl From<Value> for Stored {
    fn from(value: Value) -> Self {
        Self::Inline(value)
    }
}

/// The name of the object for the result of an attempt. No two attempts share one.
pub(crate) fn object_of(claim: &Claim) -> String {
    let Claim { dag_id, run_id, task_id, map_index, attempt: AttemptId(attempt), .. } = claim;
    format!("_xcom/{dag_id}/{run_id}/{task_id}/{map_index}/{attempt}.json")
}
