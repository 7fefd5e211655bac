//! What a worker runs at this moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::{
    ids::{AttemptId, InstanceKey},
    store::instances::Claim,
};

/// The attempts that this worker runs or is settling. Cheap to clone; the clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<AttemptId, Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    instance: InstanceKey,
    cancelled: CancellationToken,
}

/// An attempt that was stopped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped {
    pub(super) instance: InstanceKey,
    pub(super) attempt: AttemptId,
}

impl Running {
    pub(super) fn insert(&self, claim: &Claim, cancelled: CancellationToken) {
        self.lock().insert(claim.attempt, Entry { instance: claim.instance, cancelled });
    }

    pub(super) fn remove(&self, attempts: &[AttemptId]) {
        let mut entries = self.lock();
        for attempt in attempts {
            entries.remove(attempt);
        }
    }

    pub(super) fn contains(&self, attempt: AttemptId) -> bool {
        self.lock().contains_key(&attempt)
    }

    pub(super) fn attempts(&self) -> Vec<AttemptId> {
        self.lock().keys().copied().collect()
    }

    pub(super) fn cancel(&self, attempt: AttemptId) {
        if let Some(entry) = self.lock().get(&attempt) {
            entry.cancelled.cancel();
        }
    }

    /// Stops everything.
    pub(super) fn stop_all(&self) -> Vec<Stopped> {
        let stop = |(attempt, entry): (&AttemptId, &Entry)| {
            entry.cancelled.cancel();
            Stopped { instance: entry.instance, attempt: *attempt }
        };
        self.lock().iter().map(stop).collect()
    }

    /// How many run, those left out that have just ended.
    pub(super) fn count_without(&self, ended: &[AttemptId]) -> usize {
        let entries = self.lock();
        entries.len() - ended.iter().filter(|attempt| entries.contains_key(attempt)).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AttemptId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
