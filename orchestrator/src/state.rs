//! The states of runs and task instances, and the one table of legal moves.
//!
//! ```text
//!         upstream decides         room in run, task, pool       claim                outcome
//!   none ──────────────────▶ scheduled ──────────────────▶ queued ─────▶ running ──────────────▶ success │ failed │ skipped
//!   │  ▲                                                     ▲            │  │
//!   │  │                                                     └ handed back┘  │ failed, tries left
//!   │  └────────────── due ────── up_for_reschedule (looked in vain) │ up_for_retry ◀── restarting ◀── cleared
//!   ▼
//!   upstream_failed │ skipped: upstream failed or was skipped
//! ```
//!
//! Where nothing is in the way, a task instance goes from `none` to `queued` or `running` in one statement.
//!
//! Clear takes every state except running back to `none`. A mark, a run that is ended before its time and a branch set
//! `success`, `failed` or `skipped` over whatever there was; these are no moves of the table.

use serde::{Deserialize, Serialize};

/// The state of a task instance, with Airflow's names; `none` is Airflow's null.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "task_state", rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for its upstream tasks.
    None,
    /// May run by its trigger rule; stands in line for its run, its task or its pool.
    Scheduled,
    /// May run; waits for a free worker slot.
    Queued,
    /// A worker holds a lease on it.
    Running,
    /// Was cleared while it ran; its worker stops it, then it is tried again.
    Restarting,
    /// Failed, and will be tried again when its delay is over.
    UpForRetry,
    /// A sensor that has looked in vain, and will look again when its interval is over.
    UpForReschedule,
    /// Has said what it waits for, and goes on when that has come: an instant, or a signal.
    Deferred,
    /// Ended well.
    Success,
    /// Failed, and no try is left.
    Failed,
    /// Decided not to run, by itself or by a branch.
    Skipped,
    /// Cannot run, because an upstream task failed.
    UpstreamFailed,
    /// Is no longer part of the DAG's version.
    Removed,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Restarting,
        Self::UpForRetry,
        Self::UpForReschedule,
        Self::Deferred,
        Self::Success,
        Self::Failed,
        Self::Skipped,
        Self::UpstreamFailed,
        Self::Removed,
    ];

    /// Every state, in the order in which one of many says most about all of them: what failed, what is under way, what
    /// waits, what ended well. Airflow's order for the summary of a mapped task or a group.
    pub const MOST_TELLING: [Self; 13] = [
        Self::Failed,
        Self::UpstreamFailed,
        Self::UpForRetry,
        Self::UpForReschedule,
        Self::Deferred,
        Self::Queued,
        Self::Scheduled,
        Self::Running,
        Self::Restarting,
        Self::None,
        Self::Success,
        Self::Skipped,
        Self::Removed,
    ];

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Skipped | Self::UpstreamFailed | Self::Removed)
    }

    /// Whether it counts as a failure for the tasks after it and for the run's verdict.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::UpstreamFailed)
    }

    /// The name as Airflow's API and our database write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::UpForRetry => "up_for_retry",
            Self::UpForReschedule => "up_for_reschedule",
            Self::Deferred => "deferred",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::UpstreamFailed => "upstream_failed",
            Self::Removed => "removed",
        }
    }

    /// Whether a task instance may move from `self` to `next`. Everything that writes a state guards its statement
    /// with a move of this table.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use TaskState::{
            Deferred, Failed, None, Queued, Removed, Restarting, Running, Scheduled, Skipped, Success, UpForReschedule,
            UpForRetry, UpstreamFailed,
        };
        match self {
            // Through several at once where nothing is in the way.
            None => matches!(next, Scheduled | Queued | Running | Skipped | UpstreamFailed | Removed),
            Scheduled => matches!(next, Queued | Running | None | Removed),
            Queued => matches!(next, Running | None | Removed),
            Running => {
                matches!(
                    next,
                    Success | Failed | Skipped | UpForRetry | UpForReschedule | Deferred | Queued | Restarting
                )
            }
            Restarting => matches!(next, UpForRetry),
            UpForRetry | UpForReschedule | Deferred => matches!(next, None | Removed),
            Success | Failed | Skipped | UpstreamFailed => matches!(next, None | Removed),
            Removed => matches!(next, None),
        }
    }
}

impl std::fmt::Display for TaskState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The state of a run, with Airflow's names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "run_state", rename_all = "snake_case")]
pub enum RunState {
    /// Waits for `max_active_runs`, for its time, or for its DAG to be unpaused.
    Queued,
    /// Its tasks are being run.
    Running,
    /// Every task ended and no leaf failed.
    Success,
    /// Every task ended and a leaf failed.
    Failed,
}

impl RunState {
    /// Every state, in the order of a run's life.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Success, Self::Failed];

    /// Whether the run has ended.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }

    /// The name as Airflow's API and our database write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a run exists, with Airflow's names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "run_type", rename_all = "snake_case")]
pub enum RunType {
    /// Its slot in the schedule came.
    Scheduled,
    /// Somebody asked for it.
    Manual,
    /// Part of a backfill.
    Backfill,
    /// Assets that its DAG waits for were updated.
    AssetTriggered,
}

impl RunType {
    /// The name as Airflow's API and our database write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::Backfill => "backfill",
            Self::AssetTriggered => "asset_triggered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_leaves_a_finished_state() {
        for from in TaskState::ALL.into_iter().filter(|state| state.is_finished()) {
            for to in TaskState::ALL {
                let allowed = matches!(to, TaskState::None) || (to == TaskState::Removed && from != to);
                assert_eq!(from.may_become(to), allowed, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn only_an_instance_that_waits_starts_and_only_a_running_one_succeeds() {
        for from in TaskState::ALL {
            let may_start = matches!(from, TaskState::None | TaskState::Scheduled | TaskState::Queued);
            assert_eq!(from.may_become(TaskState::Running), may_start, "{from}");
            assert_eq!(from.may_become(TaskState::Success), from == TaskState::Running, "{from}");
        }
    }

    #[test]
    fn no_state_becomes_itself() {
        assert!(TaskState::ALL.into_iter().all(|state| !state.may_become(state)));
    }

    #[test]
    fn a_state_is_called_what_it_is_written_as() {
        for state in TaskState::ALL {
            assert_eq!(
                (serde_json::to_value(state).unwrap(), state.to_string()),
                (state.as_str().into(), state.as_str().into())
            );
        }
        for state in RunState::ALL {
            assert_eq!(
                (serde_json::to_value(state).unwrap(), state.to_string()),
                (state.as_str().into(), state.as_str().into())
            );
        }
        for run in [RunType::Scheduled, RunType::Manual, RunType::Backfill, RunType::AssetTriggered] {
            assert_eq!(serde_json::to_value(run).unwrap(), run.as_str());
        }
    }

    #[test]
    fn what_has_ended_and_what_has_failed() {
        let names = |which: fn(TaskState) -> bool| {
            TaskState::ALL
                .into_iter()
                .filter(|state| which(*state))
                .map(TaskState::as_str)
                .collect::<std::collections::BTreeSet<_>>()
        };
        let finished = ["failed", "removed", "skipped", "success", "upstream_failed"];
        assert!(names(TaskState::is_finished).into_iter().eq(finished));
        assert!(names(TaskState::is_failure).into_iter().eq(["failed", "upstream_failed"]));
        assert_eq!(RunState::ALL.map(RunState::is_finished), [false, false, true, true]);
    }
}
