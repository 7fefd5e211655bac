//! Whether a task may run, from its trigger rule and the counts of its ended upstream tasks. Airflow's
//! `trigger_rule_dep`, early decisions included.

use serde::{Deserialize, Serialize};

/// When a task runs, with Airflow's names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// Every upstream task succeeded.
    #[default]
    AllSuccess,
    /// Every upstream task failed, itself or by its own upstream.
    AllFailed,
    /// Every upstream task ended, however.
    AllDone,
    /// One upstream task succeeded; it does not wait for the others.
    OneSuccess,
    /// One upstream task failed; it does not wait for the others.
    OneFailed,
    /// One upstream task succeeded or failed; it does not wait for the others.
    OneDone,
    /// No upstream task failed: each succeeded or was skipped.
    NoneFailed,
    /// No upstream task failed, and one at least succeeded.
    NoneFailedMinOneSuccess,
    /// No upstream task was skipped.
    NoneSkipped,
    /// Every upstream task was skipped.
    AllSkipped,
    /// Every upstream task ended, none was skipped, and one at least succeeded.
    AllDoneMinOneSuccess,
    /// Every upstream task ended, and of the setups among them one at least succeeded: the rule of teardowns.
    AllDoneSetupSuccess,
    /// At once, whatever comes before it.
    Always,
}

impl TriggerRule {
    /// Every rule, in the order of Airflow's enumeration.
    pub const ALL: [Self; 13] = [
        Self::AllSuccess,
        Self::AllFailed,
        Self::AllDone,
        Self::AllDoneMinOneSuccess,
        Self::AllDoneSetupSuccess,
        Self::OneSuccess,
        Self::OneFailed,
        Self::OneDone,
        Self::NoneFailed,
        Self::NoneSkipped,
        Self::Always,
        Self::NoneFailedMinOneSuccess,
        Self::AllSkipped,
    ];

    /// The name as Airflow writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllSuccess => "all_success",
            Self::AllFailed => "all_failed",
            Self::AllDone => "all_done",
            Self::OneSuccess => "one_success",
            Self::OneFailed => "one_failed",
            Self::OneDone => "one_done",
            Self::NoneFailed => "none_failed",
            Self::NoneFailedMinOneSuccess => "none_failed_min_one_success",
            Self::NoneSkipped => "none_skipped",
            Self::AllSkipped => "all_skipped",
            Self::AllDoneMinOneSuccess => "all_done_min_one_success",
            Self::AllDoneSetupSuccess => "all_done_setup_success",
            Self::Always => "always",
        }
    }
}

/// How many upstream task instances there are, and how many of them ended in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All upstream task instances, but for removed ones.
    pub upstream: i32,
    /// Ended `success`.
    pub success: i32,
    /// Ended `skipped`.
    pub skipped: i32,
    /// Ended `failed`.
    pub failed: i32,
    /// Ended `upstream_failed`.
    pub upstream_failed: i32,
}

impl Counts {
    /// Failed, itself or by its upstream.
    fn failures(self) -> i32 {
        self.failed + self.upstream_failed
    }

    fn all_ended(self) -> bool {
        self.success + self.skipped + self.failures() >= self.upstream
    }
}

/// How the setup tasks stand that a task looks at, and what a teardown waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setups {
    /// Those directly before it: they are what [`TriggerRule::AllDoneSetupSuccess`] asks for.
    pub near: Tally,
    /// Those further before it that have not been torn down on the way: whatever its rule, work waits for them.
    pub far: Tally,
    /// Of a teardown: the task instances between its setups and it that have not ended.
    pub open: i32,
}

/// How many task instances there are, and how many of them ended in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// All of them.
    pub all: i32,
    /// Ended `success`.
    pub success: i32,
    /// Ended `skipped`.
    pub skipped: i32,
    /// Ended `failed` or `upstream_failed`.
    pub failed: i32,
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

/// Decides for one node, as early as Airflow does: where one upstream task settles the matter, its siblings are not
/// waited for.
#[must_use]
pub fn decide(rule: TriggerRule, counts: Counts, setups: Setups) -> Decision {
    if counts.upstream == 0 || rule == TriggerRule::Always {
        return Decision::Run;
    }
    if setups.far.failed > 0 {
        return Decision::UpstreamFailed;
    }
    if setups.far.skipped > 0 {
        return Decision::Skip;
    }
    let by_rule = match rule {
        TriggerRule::AllDoneSetupSuccess => decide_by_setups(counts, setups.near),
        rule => decide_by_rule(rule, counts),
    };
    match by_rule {
        Decision::Run if setups.far.success < setups.far.all || setups.open > 0 => Decision::Wait,
        decision => decision,
    }
}

fn decide_by_setups(counts: Counts, setups: Tally) -> Decision {
    if !counts.all_ended() {
        Decision::Wait
    } else if setups.all > 0 && setups.skipped == setups.all {
        Decision::Skip
    } else if setups.all > 0 && setups.success == 0 {
        Decision::UpstreamFailed
    } else {
        Decision::Run
    }
}

/// The table of Airflow's rules, in its order: what decides early or against it; where nothing does, all have to end.
fn decide_by_rule(rule: TriggerRule, counts: Counts) -> Decision {
    use Decision::{Run, Skip, UpstreamFailed};
    let Counts { upstream, success, skipped, .. } = counts;
    let (failures, all_ended) = (counts.failures(), counts.all_ended());
    match rule {
        TriggerRule::AllSuccess if failures > 0 => UpstreamFailed,
        TriggerRule::AllSuccess if skipped > 0 => Skip,
        TriggerRule::AllFailed if success + skipped > 0 => Skip,
        TriggerRule::OneSuccess if success > 0 => Run,
        TriggerRule::OneSuccess if all_ended && skipped >= upstream => Skip,
        TriggerRule::OneSuccess if all_ended => UpstreamFailed,
        TriggerRule::OneFailed if failures > 0 => Run,
        TriggerRule::OneFailed if all_ended => Skip,
        TriggerRule::OneDone if success + counts.failed > 0 => Run,
        TriggerRule::OneDone if all_ended => Skip,
        TriggerRule::NoneFailed | TriggerRule::NoneFailedMinOneSuccess if failures > 0 => UpstreamFailed,
        TriggerRule::NoneFailedMinOneSuccess if skipped >= upstream => Skip,
        TriggerRule::NoneSkipped | TriggerRule::AllDoneMinOneSuccess if skipped > 0 => Skip,
        TriggerRule::AllSkipped if success + failures > 0 => Skip,
        TriggerRule::AllDoneMinOneSuccess if all_ended && success == 0 => UpstreamFailed,
        _ if all_ended => Run,
        _ => Decision::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A letter for each upstream task: `s` success, `k` skipped, `f` failed, `u` `upstream_failed`, `-` not ended.
    fn counts(upstream: &str) -> Counts {
        let count = |letter| upstream.chars().filter(|found| *found == letter).count() as i32;
        Counts {
            upstream: upstream.len() as i32,
            success: count('s'),
            skipped: count('k'),
            failed: count('f'),
            upstream_failed: count('u'),
        }
    }

    /// Airflow's table (`airflow.md` 5.3), in each column what every rule makes of two upstream tasks: `.` wait, `R` run,
    /// `S` skip, `U` `upstream_failed`.
    const COLUMNS: [&str; 14] = ["--", "s-", "k-", "f-", "u-", "ss", "sk", "sf", "su", "kk", "kf", "ff", "fu", "uu"];
    const TABLE: [(TriggerRule, &str); 13] = [
        (TriggerRule::AllSuccess, "..SUURSUUSUUUU"),
        (TriggerRule::AllFailed, ".SS..SSSSSSRRR"),
        (TriggerRule::AllDone, ".....RRRRRRRRR"),
        (TriggerRule::OneSuccess, ".R...RRRRSUUUU"),
        (TriggerRule::OneFailed, "...RRSSRRSRRRR"),
        (TriggerRule::OneDone, ".R.R.RRRRSRRRS"),
        (TriggerRule::NoneFailed, "...UURRUURUUUU"),
        (TriggerRule::NoneFailedMinOneSuccess, "...UURRUUSUUUU"),
        (TriggerRule::NoneSkipped, "..S..RSRRSSRRR"),
        (TriggerRule::AllSkipped, ".S.SSSSSSRSSSS"),
        (TriggerRule::AllDoneMinOneSuccess, "..S..RSRRSSUUU"),
        (TriggerRule::AllDoneSetupSuccess, ".....RRRRRRRRR"),
        (TriggerRule::Always, "RRRRRRRRRRRRRR"),
    ];

    #[test]
    fn every_rule_decides_as_airflow_does() {
        for (rule, expected) in TABLE {
            let decided: String = COLUMNS
                .iter()
                .map(|upstream| match decide(rule, counts(upstream), Setups::default()) {
                    Decision::Wait => '.',
                    Decision::Run => 'R',
                    Decision::Skip => 'S',
                    Decision::UpstreamFailed => 'U',
                })
                .collect();
            assert_eq!(decided, expected, "{rule:?} over {COLUMNS:?}");
        }
        assert!(TriggerRule::ALL.iter().all(|rule| TABLE.iter().any(|(tested, _)| tested == rule)));
    }

    #[test]
    fn a_rule_is_called_what_it_is_written_as() {
        let names: Vec<_> = TriggerRule::ALL.iter().map(|rule| serde_json::to_value(rule).unwrap()).collect();
        assert_eq!(names, TriggerRule::ALL.map(TriggerRule::as_str));
        assert_eq!(TriggerRule::NoneFailedMinOneSuccess.as_str(), "none_failed_min_one_success");
    }

    #[test]
    fn without_upstream_every_rule_runs() {
        for rule in TriggerRule::ALL {
            assert_eq!(decide(rule, Counts::default(), Setups::default()), Decision::Run);
        }
    }

    #[test]
    fn work_needs_its_far_setups_and_a_teardown_one_of_those_before_it() {
        for ((success, skipped, failed), work, teardown) in [
            ((2, 0, 0), Decision::Run, Decision::Run),
            ((1, 0, 0), Decision::Wait, Decision::Run),
            ((1, 1, 0), Decision::Skip, Decision::Run),
            ((1, 0, 1), Decision::UpstreamFailed, Decision::Run),
            ((0, 2, 0), Decision::Skip, Decision::Skip),
            ((0, 1, 1), Decision::UpstreamFailed, Decision::UpstreamFailed),
        ] {
            let tally = Tally { all: 2, success, skipped, failed };
            let (far, near) = (Setups { far: tally, ..Setups::default() }, Setups { near: tally, ..Setups::default() });
            assert_eq!(decide(TriggerRule::AllDone, counts("ss"), far), work, "{far:?}");
            assert_eq!(decide(TriggerRule::AllDoneSetupSuccess, counts("ss"), near), teardown, "{near:?}");
            // A rule that looks at what is directly before it has the last word over setups there.
            assert_eq!(decide(TriggerRule::OneFailed, counts("f-"), near), Decision::Run, "{near:?}");
            assert_eq!(decide(TriggerRule::AllDone, counts("ss"), near), Decision::Run, "{near:?}");
        }
        let near = Tally { all: 2, success: 2, ..Tally::default() };
        let setups = |open| Setups { near, open, ..Setups::default() };
        assert_eq!(decide(TriggerRule::AllDoneSetupSuccess, counts("s-"), setups(0)), Decision::Wait);
        assert_eq!(
            decide(TriggerRule::AllDoneSetupSuccess, counts("su"), setups(1)),
            Decision::Wait,
            "work still runs"
        );
        let skipped = Setups { near: Tally { all: 1, skipped: 1, ..Tally::default() }, open: 1, ..Setups::default() };
        assert_eq!(decide(TriggerRule::AllDoneSetupSuccess, counts("kk"), skipped), Decision::Skip);
    }
}
