//! Whether a task may run, from its trigger rule and the counts of its ended upstream tasks. Airflow's
//! `trigger_rule_dep`, early decisions included.

use serde::{Deserialize, Serialize};

/// When a task runs, with Airflow's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// Every upstream task succeeded.
    #[default]
    AllSuccess,
}

impl TriggerRule {
    /// The name as Airflow writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllSuccess => "all_success",
        }
    }
}

/// How many upstream task instances there are, and how many of them ended in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All upstream task instances.
    pub upstream: i32,
    /// Ended `success`.
    pub success: i32,
    /// Ended `skipped`.
    pub skipped: i32,
    /// Ended `failed`.
    pub failed: i32,
    /// Ended `upstream_failed`.
    pub upstream_failed: i32,
    /// Ended `removed`.
    pub removed: i32,
}

/// What is to become of a task instance in state `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Upstream tasks can still change the answer.
    Wait,
    /// It may run now.
    Run,
    /// It will not run, because its upstream was skipped.
    Skip,
    /// It cannot run, because its upstream failed.
    UpstreamFailed,
}

/// Decides for one node. Early: a failed upstream task decides at once, without waiting for its siblings.
#[must_use]
pub fn decide(rule: TriggerRule, counts: Counts) -> Decision {
    match rule {
        TriggerRule::AllSuccess => {
            if counts.failed + counts.upstream_failed > 0 {
                Decision::UpstreamFailed
            } else if counts.skipped > 0 {
                Decision::Skip
            } else if counts.upstream - counts.success <= 0 {
                Decision::Run
            } else {
                Decision::Wait
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(upstream: i32, success: i32, skipped: i32, failed: i32, upstream_failed: i32) -> Counts {
        Counts { upstream, success, skipped, failed, upstream_failed, removed: 0 }
    }

    #[test]
    fn all_success() {
        let table = [
            (counts(0, 0, 0, 0, 0), Decision::Run),
            (counts(2, 0, 0, 0, 0), Decision::Wait),
            (counts(2, 1, 0, 0, 0), Decision::Wait),
            (counts(2, 2, 0, 0, 0), Decision::Run),
            (counts(2, 0, 0, 1, 0), Decision::UpstreamFailed),
            (counts(2, 1, 0, 0, 1), Decision::UpstreamFailed),
            (counts(2, 0, 1, 0, 0), Decision::Skip),
            (counts(2, 0, 1, 1, 0), Decision::UpstreamFailed),
        ];
        for (counts, expected) in table {
            assert_eq!(decide(TriggerRule::AllSuccess, counts), expected, "{counts:?}");
        }
    }
}
