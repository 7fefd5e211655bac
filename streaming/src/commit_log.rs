//! The commit log of a Kafka partition, in the bucket: upload → manifest → publish. Creating the manifest is the
//! commit and the fence; Kafka's committed offset is only a hint.
//!
//! | it dies … | what is left | what happens |
//! | --- | --- | --- |
//! | before the manifest | staging objects | the range is read again; they expire |
//! | after the manifest, reply lost | the commit | its own manifest is found, and it goes on |
//! | after the manifest | unpublished files | the next owner publishes them before it reads on |
//! | stalls, and another took over | nothing of its own | it loses the race for the manifest, and drops its range |

use std::sync::Arc;

use anyhow::{Context, bail};
use bucket::{Bucket, Error, Moved};
use bytes::Bytes;
use chrono::Utc;
use futures::future::try_join_all;
use lake::{
    Committed, Genesis, Manifest,
    layout::{self, LogId, Part},
    manifest::{self, Counts, RangeKind},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    file::{File, FileOf},
    patience::patiently,
    range::ClosedRange,
};

/// So many uploads at once, and so many small calls: each has a connection and its buffers, and 200 partitions may commit
/// 10,000 files together. Apart, so that who takes a partition over need not wait behind the files of all others.
const AT_ONCE: usize = 64;

/// The commit logs of one application.
#[derive(Clone, Debug)]
pub struct CommitLogs {
    bucket: Bucket,
    uploads: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

/// Where a log ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The offset to read next.
    pub next: i64,
    /// The start of the last manifest; none if there is only the genesis.
    pub last_start: Option<i64>,
}

/// What Kafka says of a partition.
#[derive(Clone, Copy, Debug)]
pub struct InKafka {
    /// The id of its topic, if the brokers tell.
    pub topic_id: Option<Uuid>,
    /// The first offset.
    pub low: i64,
    /// The offset after the last one.
    pub high: i64,
}

/// A file of a range that lies where nobody looks.
#[derive(Clone, Debug)]
pub struct Staged {
    /// What it holds.
    pub of: FileOf,
    object: String,
    generation: i64,
    rows: u64,
    bytes: u64,
    crc32c: u32,
    first_offset: i64,
    last_offset: i64,
}

/// How a commit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitEnd {
    /// The range is committed and published.
    Committed,
    /// Somebody else committed from the same offset: go on where that ends.
    Lost {
        /// Where it ends.
        end: i64,
    },
}

impl CommitLogs {
    /// The logs in a bucket.
    #[must_use]
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket, uploads: Arc::new(Semaphore::new(AT_ONCE)), small: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Finds where the log ends, for a new owner of the partition: begins it if it is new, publishes what its last
    /// commit left unpublished, and writes down what Kafka has dropped unread. A `hint` at the start of one of the last
    /// manifests saves reading all their names.
    ///
    /// # Errors
    /// The topic is not the one that the log is about, or the log is broken.
    pub async fn take_over(&self, log: &LogId, kafka: InKafka, hint: Option<i64>) -> anyhow::Result<Head> {
        let last = self.last(log, hint).await?;
        let genesis: Genesis = match &last {
            Some(_) => self.read(&log.genesis()).await?,
            None => self.begin(log, kafka).await?,
        };
        // Where either has none, the offsets below tell most of the same.
        if let Some(id) = kafka.topic_id
            && !genesis.topic_id.is_empty()
            && genesis.topic_id != id.to_string()
        {
            bail!(
                "{}/{}: the commit log is about the topic with the id {}, but Kafka's topic of that name has the id {}: it \
                 was made anew. If that is so, raise STREAMCOMMERCE_TOPIC_EPOCH (now {}); nothing was read",
                log.topic,
                log.partition,
                genesis.topic_id,
                id,
                log.epoch
            );
        }
        let mut head = match last {
            Some(last) => {
                self.publish(&last).await?;
                Head { next: last.end, last_start: Some(last.start) }
            }
            None => Head { next: genesis.start, last_start: None },
        };
        if head.next > kafka.high {
            bail!(
                "{}/{}: the commit log ends at {}, but Kafka's partition at {}: the topic was made anew. If that is so, \
                 raise STREAMCOMMERCE_TOPIC_EPOCH (now {}); nothing was read",
                log.topic,
                log.partition,
                head.next,
                kafka.high,
                log.epoch
            );
        }
        // Somebody else may still commit a range of his own in our place; then there may be another gap after it.
        while head.next < kafka.low {
            tracing::error!(
                topic = log.topic,
                partition = log.partition,
                from = head.next,
                to = kafka.low,
                "LOST: Kafka's retention dropped these offsets before they were read; written down as a gap"
            );
            head = self.write_gap(log, head, kafka.low).await?;
        }
        Ok(head)
    }

    /// Uploads a file of a range to where nobody looks: at its end, or before to make room.
    ///
    /// # Errors
    /// The bucket refuses. One that cannot be reached is tried until it can.
    pub async fn stage(&self, app: &str, file: &File) -> anyhow::Result<Staged> {
        let object = layout::staging(app, Uuid::new_v4());
        let uploaded = patiently(&self.uploads, "upload", &object, || async {
            match self.bucket.create(&object, file.data.clone()).await {
                Ok(written) => Ok((written.generation, written.crc32c)),
                // The name is ours alone: an earlier try came through, and only its reply was lost.
                Err(Error::Precondition { .. }) => {
                    let found = self.bucket.stat(&object).await?;
                    found
                        .map(|found| (found.generation, found.crc32c))
                        .ok_or(Error::NotFound { object: object.clone() })
                }
                Err(error) => Err(error),
            }
        });
        let (generation, crc32c) = uploaded.await?;
        let &File { of, rows, first_offset, last_offset, .. } = file;
        Ok(Staged { of, object, generation, rows, bytes: file.data.len() as u64, crc32c, first_offset, last_offset })
    }

    /// Commits a range, with what was staged of it before: its files become visible, once, whoever else tries.
    ///
    /// # Errors
    /// A file of the range is in neither of its two places, or the log is broken. A bucket that cannot be reached is
    /// no error: it is tried until it can.
    pub async fn commit(&self, range: ClosedRange, staged: Vec<Staged>) -> anyhow::Result<CommitEnd> {
        let app = range.log.app.as_str();
        let mut all = staged;
        all.extend(try_join_all(range.files.iter().map(|file| self.stage(app, file))).await?);
        let manifest = manifest(&range, all);
        if let Some(fault) = manifest.fault() {
            bail!(
                "{}/{}: refused to commit {}..{}: {fault}",
                range.log.topic,
                range.log.partition,
                range.start,
                range.end
            );
        }
        match self.create_manifest(&manifest).await? {
            None => {
                self.publish(&manifest).await?;
                Ok(CommitEnd::Committed)
            }
            Some(theirs) => {
                tracing::warn!(
                    topic = range.log.topic,
                    partition = range.log.partition,
                    start = range.start,
                    end = theirs.end,
                    "somebody else committed this range; dropping ours"
                );
                self.publish(&theirs).await?;
                Ok(CommitEnd::Lost { end: theirs.end })
            }
        }
    }

    /// Moves the files of a committed range to where readers see them. Anybody may do it, any number of times.
    ///
    /// # Errors
    /// A file is in neither of its two places.
    pub async fn publish(&self, manifest: &Manifest) -> anyhow::Result<()> {
        try_join_all(manifest.files.iter().chain(&manifest.dead_letters).map(|file| self.publish_file(file))).await?;
        Ok(())
    }

    async fn publish_file(&self, file: &Committed) -> anyhow::Result<()> {
        let moved = patiently(&self.small, "publish", &file.published, || async {
            self.bucket.move_new(&file.staging, file.staging_generation, &file.published).await
        });
        if moved.await? == Moved::Done {
            return Ok(());
        }
        let found =
            patiently(&self.small, "stat", &file.published, || async { self.bucket.stat(&file.published).await })
                .await?;
        match found {
            Some(object) if object.crc32c == file.crc32c => Ok(()),
            Some(_) => bail!("{} holds something else than its manifest says", file.published),
            None => bail!("{} is committed, but it is neither there nor at {}", file.published, file.staging),
        }
    }

    /// The last manifest of a log. Names sort as their offsets do; a hint that leads nowhere is none.
    async fn last(&self, log: &LogId, hint: Option<i64>) -> anyhow::Result<Option<Manifest>> {
        let folder = log.folder();
        for from in hint.map(|start| log.manifest(start)).into_iter().chain([String::new()]) {
            let objects =
                patiently(&self.small, "list", &folder, || async { self.bucket.list(&folder, &from).await }).await?;
            if let Some(start) = objects.iter().filter_map(|object| layout::start_of_manifest(&object.name)).max() {
                return self.read(&log.manifest(start)).await.map(Some);
            }
        }
        Ok(None)
    }

    /// Writes the genesis; if there is one, it stands.
    async fn begin(&self, log: &LogId, kafka: InKafka) -> anyhow::Result<Genesis> {
        let genesis = Genesis {
            v: manifest::VERSION,
            log: log.clone(),
            start: kafka.low,
            topic_id: kafka.topic_id.map(|id| id.to_string()).unwrap_or_default(),
            created_at: Utc::now(),
        };
        match self.create(&log.genesis(), &genesis).await? {
            Created::New => Ok(genesis),
            Created::Exists => self.read(&log.genesis()).await,
        }
    }

    async fn write_gap(&self, log: &LogId, head: Head, low: i64) -> anyhow::Result<Head> {
        let gap = without_records(log, RangeKind::Gap, head, low)?;
        let written = match self.create_manifest(&gap).await? {
            None => gap,
            Some(theirs) => {
                self.publish(&theirs).await?;
                theirs
            }
        };
        Ok(Head { next: written.end, last_start: Some(written.start) })
    }

    /// Writes down that an operator leaves out what comes next, up to an offset. How many offsets; none if somebody
    /// committed at the same time.
    ///
    /// # Errors
    /// The log has not begun, or is beyond that offset already.
    pub async fn skip(&self, log: &LogId, to: i64) -> anyhow::Result<Option<i64>> {
        let head = match self.last(log, None).await? {
            Some(last) => Head { next: last.end, last_start: Some(last.start) },
            None => Head { next: self.read::<Genesis>(&log.genesis()).await?.start, last_start: None },
        };
        if to <= head.next {
            bail!(
                "{}/{}: everything before {} is committed: there is nothing to skip",
                log.topic,
                log.partition,
                head.next
            );
        }
        let skip = without_records(log, RangeKind::Skip, head, to)?;
        Ok(self.create_manifest(&skip).await?.is_none().then_some(to - head.next))
    }

    /// The commit. None if the manifest is ours, else the one that was faster.
    async fn create_manifest(&self, manifest: &Manifest) -> anyhow::Result<Option<Manifest>> {
        let object = manifest.log.manifest(manifest.start);
        match self.create(&object, manifest).await? {
            Created::New => Ok(None),
            Created::Exists => {
                let found: Manifest = self.read(&object).await?;
                Ok((found.writer != manifest.writer).then_some(found))
            }
        }
    }

    async fn create(&self, object: &str, contents: &impl Serialize) -> anyhow::Result<Created> {
        let json = Bytes::from(serde_json::to_vec_pretty(contents)?);
        patiently(&self.small, "create", object, || async {
            match self.bucket.create(object, json.clone()).await {
                Ok(_) => Ok(Created::New),
                Err(Error::Precondition { .. }) => Ok(Created::Exists),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn read<T: DeserializeOwned>(&self, object: &str) -> anyhow::Result<T> {
        let contents = patiently(&self.small, "read", object, || async { self.bucket.read(object).await }).await?;
        let contents = contents.with_context(|| format!("{object} was there and is not any more"))?;
        serde_json::from_slice(&contents).with_context(|| format!("{object} cannot be read"))
    }
}

/// A range of which nothing was read.
fn without_records(log: &LogId, kind: RangeKind, from: Head, end: i64) -> anyhow::Result<Manifest> {
    Ok(Manifest {
        v: manifest::VERSION,
        log: log.clone(),
        kind,
        start: from.next,
        end,
        prev_start: from.last_start,
        ingestion_time: Utc::now(),
        writer: Uuid::new_v4(),
        files: Vec::new(),
        dead_letters: Vec::new(),
        counts: Counts { absent: u64::try_from(end - from.next)?, ..Counts::default() },
    })
}

/// What a range commits. Files of one name lie in the folders of different hours; within a folder they are numbered.
fn manifest(range: &ClosedRange, mut staged: Vec<Staged>) -> Manifest {
    staged.sort_by_key(|file| (file.of, file.first_offset));
    let (mut files, mut dead_letters) = (Vec::new(), Vec::new());
    let mut before = None;
    for file in staged {
        let number = before.filter(|(of, _)| *of == file.of).map_or(0, |(_, number)| number + 1);
        before = Some((file.of, number));
        let part = Part { log: &range.log, start: range.start, end: range.end, number };
        let (published, list) = match file.of {
            FileOf::Rows(hour) => (layout::events(range.event, hour.start(), part), &mut files),
            FileOf::DeadLetters(hour) => (layout::dead_letters(range.event, hour.start(), part), &mut dead_letters),
        };
        list.push(Committed {
            staging: file.object,
            staging_generation: file.generation,
            published,
            rows: file.rows,
            bytes: file.bytes,
            crc32c: file.crc32c,
            first_offset: file.first_offset,
            last_offset: file.last_offset,
        });
    }
    Manifest {
        v: manifest::VERSION,
        log: range.log.clone(),
        kind: range.kind,
        start: range.start,
        end: range.end,
        prev_start: range.prev_start,
        ingestion_time: range.ingestion_time,
        writer: Uuid::new_v4(),
        files,
        dead_letters,
        counts: range.counts,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Created {
    New,
    Exists,
}
