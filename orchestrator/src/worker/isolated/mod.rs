//! A body in a process of its own: what it allocates, blocks, or breaks is its own affair, and a stop ends all of it.
//!
//! The worker starts its own program anew, in a process group of its own, with one end of a socket as its standard
//! input. It writes the claim; the child answers with the lines of the log and how the body ended. The end of the
//! stream says to the child that it is to stop, also when the worker was killed; to the worker, that the child is gone. A stop
//! is told to the body by its token, and to all that it has started by SIGTERM; what is left after a while gets SIGKILL.

mod child;
mod parent;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::Level;

pub use self::child::run;
pub(super) use self::parent::Isolated;
use super::body::{End, Failure};
use crate::{
    context::{FailWithoutRetry, Skip},
    dag::Returned,
    overflow,
    task_log::{LogLine, LogSink},
};

/// How a worker starts its own program so that it calls [`run`].
#[derive(Clone, Debug)]
pub struct BodyProcess {
    /// The arguments.
    pub args: Vec<String>,
    /// Environment variables besides the worker's.
    pub envs: Vec<(String, Secret)>,
}

/// A text that is not shown.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(crate::secrets::MASK)
    }
}

/// How long a body that is stopped may take to clean up; then its process group is killed. What it has left to
/// [`Context::see_through`](crate::context::Context::see_through) has ended before.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// What the child says at once: the biggest result that may be kept, and what is around it.
const FRAME_BYTES_MAX: usize = overflow::BYTES_MAX + 64 * 1024;

/// What the child says, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    Said(Said),
    Ended(Report),
}

/// A line of the log.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    level: String,
    logger: String,
    message: String,
}

impl From<LogLine> for Said {
    fn from(LogLine { level, logger, message, .. }: LogLine) -> Self {
        Self { level: level.to_owned(), logger, message }
    }
}

impl Said {
    fn relay(self, sink: &LogSink) {
        sink.relay(self.level.parse().unwrap_or(Level::INFO), &self.logger, self.message);
    }
}

/// How the body ended.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Returned(Returned),
    Failed(String),
    FailedWithoutRetry(String),
    Skipped(String),
    Panicked(String),
}

impl Report {
    /// The worker does not know the secrets that the body has read.
    fn of(end: End, sink: &LogSink) -> Option<Self> {
        Some(match end {
            Ok(returned) => Self::Returned(returned),
            Err(Failure::Error(error)) => match (error.downcast_ref(), error.downcast_ref::<FailWithoutRetry>()) {
                (Some(Skip(why)), _) => Self::Skipped(sink.masked(why.clone())),
                (_, Some(_)) => Self::FailedWithoutRetry(sink.masked(format!("{error:#}"))),
                _ => Self::Failed(sink.masked(format!("{error:#}"))),
            },
            Err(Failure::Panicked(message)) => Self::Panicked(sink.masked(message)),
            Err(Failure::TimedOut(_) | Failure::Cancelled) => return None,
        })
    }

    fn into_end(self) -> End {
        Err(Failure::Error(match self {
            Self::Returned(returned) => return Ok(returned),
            Self::Panicked(message) => return Err(Failure::Panicked(message)),
            Self::Failed(cause) => anyhow::Error::msg(cause),
            Self::FailedWithoutRetry(cause) => FailWithoutRetry(cause).into(),
            Self::Skipped(why) => Skip(why).into(),
        }))
    }
}
