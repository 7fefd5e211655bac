//! All of a commit log, read from the bucket.

use std::collections::BTreeMap;

use anyhow::Context;
use bucket::Bucket;
use futures::{StreamExt, TryStreamExt};
use lake::{
    Event, Genesis, Manifest,
    layout::{self, LogId},
};

/// Objects that are read at the same time.
const AT_ONCE: usize = 32;

/// The commit log of one Kafka partition.
#[derive(Clone, Debug)]
pub struct Log {
    /// Which one.
    pub id: LogId,
    /// Its beginning; none if it is missing.
    pub genesis: Option<Genesis>,
    /// Its manifests, in the order of their names.
    pub manifests: Vec<Manifest>,
}

impl Log {
    /// The offset to read next.
    #[must_use]
    pub fn next(&self) -> Option<i64> {
        self.manifests.last().map(|last| last.end).or_else(|| self.genesis.as_ref().map(|genesis| genesis.start))
    }
}

/// The logs of a topic, of every partition that has one.
///
/// # Errors
/// The bucket cannot be reached, or an object of a log cannot be read.
pub async fn of_topic(bucket: &Bucket, app: &str, event: Event, epoch: u32) -> anyhow::Result<Vec<Log>> {
    let folder = layout::logs_of_topic(app, event.topic(), epoch);
    let mut partitions: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for object in bucket.list(&folder, "").await? {
        let partition = object.name[folder.len()..].split('/').next().and_then(|name| name.parse().ok());
        let partition =
            partition.with_context(|| format!("{} is in a commit log, but is no part of one", object.name))?;
        partitions.entry(partition).or_default().push(object.name);
    }
    let mut logs = Vec::new();
    for (partition, names) in partitions {
        let id = LogId { app: app.to_owned(), topic: event.topic().to_owned(), epoch, partition };
        logs.push(read(bucket, id, names).await?);
    }
    Ok(logs)
}

async fn read(bucket: &Bucket, id: LogId, names: Vec<String>) -> anyhow::Result<Log> {
    let genesis = match bucket.read(&id.genesis()).await? {
        Some(json) => Some(serde_json::from_slice(&json).with_context(|| format!("{} is broken", id.genesis()))?),
        None => None,
    };
    let manifests = names.into_iter().filter(|name| layout::start_of_manifest(name).is_some());
    let manifests = futures::stream::iter(manifests).map(|name| async move {
        let json = bucket.read(&name).await?.with_context(|| format!("{name} was there and is not any more"))?;
        serde_json::from_slice::<Manifest>(&json).with_context(|| format!("{name} is broken"))
    });
    Ok(Log { id, genesis, manifests: manifests.buffered(AT_ONCE).try_collect().await? })
}
