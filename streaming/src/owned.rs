//! A Kafka partition that this worker owns: its open range, what was uploaded of it already, and the commit of the range
//! before, which goes on while records are read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use lake::manifest::Counts;
use tokio::{runtime::Handle, sync::Notify, task::JoinHandle};

use crate::{
    announce::Announcer,
    commit_log::{CommitEnd, CommitLogs, Staged},
    file::File,
    metrics::{Metrics, Told},
    range::{ClosedRange, OpenRange, Room},
};

/// What uploads and commits need.
#[derive(Clone, Debug)]
pub struct Uploader {
    /// The commit logs.
    pub logs: CommitLogs,
    /// Where they go on while records are read.
    pub runtime: Handle,
    /// What is told of them.
    pub metrics: Arc<Metrics>,
    /// Who hears of new files.
    pub announcer: Announcer,
    in_flight: Arc<InFlight>,
}

/// How many bytes wait for their upload.
#[derive(Debug, Default)]
struct InFlight {
    bytes: AtomicUsize,
    less: Notify,
}

/// Bytes that are held until this is dropped.
struct Weight {
    of: Arc<InFlight>,
    bytes: usize,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.less.notify_one();
    }
}

impl Uploader {
    /// Nothing under way yet.
    #[must_use]
    pub fn new(logs: CommitLogs, runtime: Handle, metrics: Arc<Metrics>, announcer: Announcer) -> Self {
        Self { logs, runtime, metrics, announcer, in_flight: Arc::default() }
    }

    /// How many bytes wait for their upload.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.bytes.load(Ordering::Relaxed)
    }

    /// Blocks until an upload has ended, or so long.
    pub fn wait(&self, at_most: std::time::Duration) {
        self.runtime.block_on(tokio::time::timeout(at_most, self.in_flight.less.notified())).ok();
    }

    fn weigh(&self, bytes: usize) -> Weight {
        self.in_flight.bytes.fetch_add(bytes, Ordering::Relaxed);
        Weight { of: Arc::clone(&self.in_flight), bytes }
    }

    fn stage(&self, app: String, file: File) -> Uploading {
        let (logs, metrics, weight) = (self.logs.clone(), Arc::clone(&self.metrics), self.weigh(file.data.len()));
        let task = self.runtime.spawn(async move {
            let began = Instant::now();
            let staged = logs.stage(&app, &file).await;
            drop((file, weight));
            metrics.uploaded(began.elapsed());
            staged
        });
        Uploading(task)
    }

    fn commit(&self, range: ClosedRange, staged: Vec<Uploading>) -> Committing {
        let weight = self.weigh(range.files.iter().map(|file| file.data.len()).sum());
        let (logs, metrics, announcer) = (self.logs.clone(), Arc::clone(&self.metrics), self.announcer.clone());
        let event = range.event;
        let done = Done { start: range.start, end: range.end, counts: range.counts };
        let began = Instant::now();
        let task = self.runtime.spawn(async move {
            let mut uploaded = Vec::with_capacity(staged.len());
            for staged in staged {
                uploaded.push(staged.end().await?);
            }
            let told = Told {
                topic: range.log.topic.clone(),
                counts: range.counts,
                bytes: range.bytes,
                files: (uploaded.len() + range.files.len()) as u64,
                broken: range.broken.clone(),
            };
            let end = logs.commit(range, uploaded).await?;
            drop(weight);
            if end == CommitEnd::Committed {
                metrics.committed(told, began.elapsed());
                announcer.tell(event);
            } else {
                metrics.lost();
            }
            Ok(end)
        });
        Committing { done, began, task }
    }
}

/// A file of the open range on its way. Dropped, it stays where nobody looks.
#[derive(Debug)]
struct Uploading(JoinHandle<anyhow::Result<Staged>>);

impl Uploading {
    async fn end(mut self) -> anyhow::Result<Staged> {
        (&mut self.0).await?
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A range on its way.
#[derive(Debug)]
struct Committing {
    done: Done,
    began: Instant,
    task: JoinHandle<anyhow::Result<CommitEnd>>,
}

/// A commit that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// The first offset of the range.
    pub start: i64,
    /// The offset after its last one.
    pub end: i64,
    /// What became of its records.
    pub counts: Counts,
}

/// A partition that this worker owns.
#[derive(Debug)]
pub struct Owned {
    /// What is read now.
    pub range: OpenRange,
    staged: Vec<Uploading>,
    committing: Option<Committing>,
}

impl Owned {
    /// Nothing read yet.
    #[must_use]
    pub fn new(range: OpenRange) -> Self {
        Self { range, staged: Vec::new(), committing: None }
    }

    /// Whether a commit is under way: the next one must wait for it.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    /// For how long a commit has been under way; none is.
    #[must_use]
    pub fn committing_for(&self) -> Option<Duration> {
        self.committing.as_ref().map(|committing| committing.began.elapsed())
    }

    /// Makes the biggest part of the open range smaller, or uploads it. False if there is none.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn make_room(&mut self, uploader: &Uploader) -> anyhow::Result<bool> {
        match self.range.make_room()? {
            Room::None => return Ok(false),
            Room::Encoded => {}
            Room::File(file) => self.staged.push(uploader.stage(self.range.log().app.clone(), file)),
        }
        Ok(true)
    }

    /// Closes the open range and begins its commit, unless one is under way or nothing was read.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn commit(&mut self, uploader: &Uploader) -> anyhow::Result<()> {
        if self.committing.is_none()
            && let Some(closed) = self.range.close()?
        {
            self.committing = Some(uploader.commit(closed, std::mem::take(&mut self.staged)));
        }
        Ok(())
    }

    /// The commit that was under way, if it has ended.
    ///
    /// # Errors
    /// It cannot be made whole.
    pub fn ended(&mut self, runtime: &Handle) -> anyhow::Result<Option<(Done, CommitEnd)>> {
        match self.committing.take_if(|committing| committing.task.is_finished()) {
            Some(Committing { done, task, .. }) => Ok(Some((done, runtime.block_on(task)??))),
            None => Ok(None),
        }
    }

    /// Commits everything that was read, for there is no later: the commit under way, then the open range. The last one
    /// that was committed.
    ///
    /// # Errors
    /// A commit cannot be made whole.
    pub async fn finish(mut self, uploader: &Uploader) -> anyhow::Result<Option<Done>> {
        let mut last = None;
        loop {
            self.commit(uploader)?;
            let Some(committing) = self.committing.take() else { return Ok(last) };
            match committing.task.await?? {
                CommitEnd::Committed => last = Some(committing.done),
                // What was read after it is somebody else's.
                CommitEnd::Lost { .. } => return Ok(last),
            }
        }
    }
}
