//! How an attempt ended.

use std::time::Duration;

use chrono::NaiveDate;
use serde_json::Value;

use crate::{
    ids::{AttemptId, InstanceKey, Node, ProcessId, RunKey, VersionId},
    overflow::Stored,
    state::TaskState,
};

/// The end of one attempt, as the worker (or whoever rescues it) reports it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The task instance.
    pub instance: InstanceKey,
    /// The claim that ended; another claim's outcome is refused.
    pub attempt: AttemptId,
    /// Who ran it.
    pub worker: ProcessId,
    /// Its run.
    pub run_key: RunKey,
    /// The day whose partitions hold the run's history.
    pub run_day: NaiveDate,
    /// The version that the run is under.
    pub version: VersionId,
    /// Its node.
    pub node: Node,
    /// Its index in a mapped task.
    pub map_index: i32,
    /// How it ended.
    pub ending: Ending,
    /// If it succeeded and is a branch: the nodes that it chose not to run.
    pub skips: Vec<Node>,
}

/// How an attempt ends.
#[derive(Clone, PartialEq, Debug)]
pub enum Ending {
    /// The body returned this.
    Success(Stored),
    /// The body says that there is nothing to do.
    Skipped {
        /// Why.
        cause: String,
    },
    /// The try failed, and another one follows.
    Retry {
        /// How long after the end of this one, by the database's clock.
        delay: Duration,
        /// Why it failed.
        cause: String,
    },
    /// The try looked in vain, and goes on later: Airflow's reschedule mode.
    Reschedule {
        /// How long after the end of this look, by the database's clock.
        delay: Duration,
    },
    /// The try goes on later, when an instant or a signal has come: Airflow's deferral.
    Defer {
        /// How long after the end of this part at the latest, by the database's clock.
        delay: Duration,
        /// What makes it due before.
        signal: Option<String>,
    },
    /// The try failed, and no other one follows.
    Failed {
        /// Why.
        cause: String,
    },
}

impl Ending {
    /// The state that it leads to, unless the task was cleared meanwhile.
    #[must_use]
    pub fn state(&self) -> TaskState {
        match self {
            Self::Success(_) => TaskState::Success,
            Self::Skipped { .. } => TaskState::Skipped,
            Self::Retry { .. } => TaskState::UpForRetry,
            Self::Reschedule { .. } => TaskState::UpForReschedule,
            Self::Defer { .. } => TaskState::Deferred,
            Self::Failed { .. } => TaskState::Failed,
        }
    }

    /// How long the next try, or look, has to wait.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        match self {
            Self::Retry { delay, .. } | Self::Reschedule { delay } | Self::Defer { delay, .. } => Some(*delay),
            _ => None,
        }
    }

    /// Why it did not succeed.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Success(_) | Self::Reschedule { .. } | Self::Defer { .. } => None,
            Self::Skipped { cause } | Self::Retry { cause, .. } | Self::Failed { cause } => Some(cause),
        }
    }

    /// The signal that it goes on with.
    #[must_use]
    pub fn signal(&self) -> Option<&str> {
        match self {
            Self::Defer { signal, .. } => signal.as_deref(),
            _ => None,
        }
    }

    /// What later tasks may take; a body that returns nothing leaves nothing.
    #[must_use]
    pub fn result(&self) -> Option<&Stored> {
        match self {
            Self::Success(Stored::Inline(Value::Null)) => None,
            Self::Success(result) => Some(result),
            _ => None,
        }
    }
}
