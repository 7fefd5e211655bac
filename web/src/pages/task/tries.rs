//! The tries of a task instance beside each other: when each was queued, started and ended.

use chrono::{DateTime, Utc};
use orchestrator::{
    state::TaskState,
    store::pages::instances::{InstanceListed, TryListed},
};

use crate::pages::{ticking::Took, words};

/// How wide all of them are together.
const WIDTH: i64 = 1_000;
/// What can still be seen.
const LEAST: i64 = 4;

/// An attempt; one that was handed back has the number of the next one.
struct Attempt {
    number: i32,
    state: TaskState,
    /// Known of the latest one alone.
    queued: Option<DateTime<Utc>>,
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    host: Option<String>,
    cause: Option<String>,
}

/// An attempt, and where it is beside the others.
pub(super) struct Row {
    pub(super) number: i32,
    pub(super) state: TaskState,
    pub(super) queued: Option<DateTime<Utc>>,
    pub(super) start: Option<DateTime<Utc>>,
    pub(super) end: Option<DateTime<Utc>>,
    pub(super) took: Took,
    pub(super) host: String,
    pub(super) cause: Option<String>,
    /// What it says when asked.
    pub(super) label: String,
    /// Where it begins, how long it waited and how long it ran, of [`WIDTH`].
    pub(super) from: i64,
    pub(super) waited: i64,
    pub(super) ran: i64,
}

/// All of them, the first one first.
pub(super) fn rows(instance: &InstanceListed, ended: &[TryListed], now: DateTime<Utc>) -> Vec<Row> {
    let attempts = attempts(instance, ended);
    let begins = attempts.iter().filter_map(|attempt| attempt.queued.or(attempt.start));
    let first = begins.min().unwrap_or(now);
    let last = attempts.iter().map(|attempt| attempt.end.unwrap_or(now)).max().unwrap_or(now);
    let length = (last - first).num_milliseconds().max(1);
    let at = |at: DateTime<Utc>| (at - first).num_milliseconds().clamp(0, length) * WIDTH / length;
    let row = |Attempt { number, state, queued, start, end, host, cause }: Attempt| {
        let begins = at(start.unwrap_or(now));
        let from = queued.map_or(begins, at).min(WIDTH - LEAST);
        Row {
            number,
            state,
            queued,
            start,
            end,
            took: Took { from: start, to: end, now },
            host: host.unwrap_or_default(),
            cause,
            label: format!("Try {number}: {}, {}", words::spoken(state), words::took(start, end, now)),
            from,
            waited: (begins - from).max(0),
            ran: (at(end.unwrap_or(now)) - begins).max(LEAST),
        }
    };
    attempts.into_iter().map(row).collect()
}

fn attempts(instance: &InstanceListed, ended: &[TryListed]) -> Vec<Attempt> {
    let of = |ended: &TryListed| Attempt {
        number: ended.try_number,
        state: ended.state,
        queued: None,
        start: Some(ended.start_date),
        end: Some(ended.end_date),
        host: ended.hostname.clone(),
        cause: ended.cause.clone(),
    };
    let mut attempts: Vec<_> = ended.iter().map(of).collect();
    if instance.try_number > attempts.last().map_or(0, |last| last.number) {
        attempts.push(Attempt {
            number: instance.try_number,
            state: instance.state,
            queued: None,
            start: instance.start_date,
            end: None,
            host: instance.hostname.clone(),
            cause: None,
        });
    }
    if let Some(latest) = attempts.last_mut() {
        latest.queued = instance.queued_at.filter(|queued| latest.start.is_some_and(|start| *queued <= start));
    }
    attempts
}
