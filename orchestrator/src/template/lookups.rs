//! What a template looks up, and what has been found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use minijinja::Value;

use crate::ids::{DagId, RunId, TaskId};

/// Something that a try must ask for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lookup {
    Variable(String),
    Connection(String),
    /// What another task of the run returned.
    Result(TaskId),
    /// When the run is, and why.
    Run,
    /// The same of the last one before it that succeeded.
    PreviousSuccess,
    /// The updates of assets that made the run.
    AssetEvents,
    /// When the run is that made one of these updates, and why.
    SourceRun(DagId, RunId),
}

impl fmt::Display for Lookup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(key) => write!(out, "variable {key}"),
            Self::Connection(id) => write!(out, "connection {id}"),
            Self::Result(task) => write!(out, "result of the task {task}"),
            Self::Run => out.write_str("run"),
            Self::PreviousSuccess => out.write_str("run before it"),
            Self::AssetEvents => out.write_str("update of an asset"),
            Self::SourceRun(dag, run) => write!(out, "run {run} of the dag {dag} (any more)"),
        }
    }
}

/// What has been found so far, and what is still wanted.
#[derive(Debug, Default)]
pub(super) struct Lookups(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    found: BTreeMap<Lookup, Option<Value>>,
    wanted: BTreeSet<Lookup>,
    /// What only runs that are about some time have.
    timeless: BTreeSet<&'static str>,
}

impl Lookups {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None if it is not there, or not yet: then the template is rendered again.
    pub(super) fn get(&self, lookup: Lookup) -> Option<Value> {
        let mut known = self.known();
        if let Some(found) = known.found.get(&lookup) {
            return found.clone();
        }
        known.wanted.insert(lookup);
        None
    }

    pub(super) fn take_wanted(&self) -> BTreeSet<Lookup> {
        std::mem::take(&mut self.known().wanted)
    }

    pub(super) fn put(&self, lookup: Lookup, found: Option<Value>) {
        self.known().found.insert(lookup, found);
    }

    /// What a run is asked for that is about no time.
    pub(super) fn put_timeless(&self, what: &'static str) {
        self.known().timeless.insert(what);
    }

    /// What was looked up in vain.
    pub(super) fn missing(&self) -> Vec<String> {
        let known = self.known();
        let found = known.found.iter().filter(|(_, found)| found.is_none()).map(|(lookup, _)| lookup.to_string());
        let timeless =
            known.timeless.iter().map(|what| format!("{what} (only a run that was made with a logical date has one)"));
        found.chain(timeless).collect()
    }
}
