//! What a task instance decides by what is before it, and a run by its leaves.

use super::{At, Kind, Model, Task, is_failed, is_finished};

impl Model {
    pub(super) fn verdict(&self) -> &'static str {
        let is_leaf = |task: usize| match self.tasks[task].kind {
            Kind::Teardown => false,
            Kind::DecisiveTeardown => true,
            _ => self.downstream(task).iter().all(|after| self.tasks[*after].kind.is_teardown()),
        };
        let failed = self.all().into_iter().any(|at| is_leaf(at.0) && is_failed(self.state(at)));
        self.marked.unwrap_or(if failed { "failed" } else { "success" })
    }

    /// The setups that a task needs: all before it whose teardown, if there is one, does not come before it too. A
    /// teardown needs none.
    pub(super) fn needed_setups(&self, task: usize) -> Vec<usize> {
        if self.tasks[task].kind.is_teardown() {
            return Vec::new();
        }
        let after = self.all_after(task);
        let is_open = |setup: &usize| {
            let teardowns: Vec<_> =
                self.downstream(*setup).into_iter().filter(|task| self.tasks[*task].kind.is_teardown()).collect();
            teardowns.is_empty() || teardowns.iter().any(|teardown| after.contains(teardown))
        };
        let mut setups = self.all_before(task);
        setups.retain(|setup| self.tasks[*setup].kind == Kind::Setup && is_open(setup));
        setups.sort_unstable();
        setups.dedup();
        setups
    }

    /// Those of them that its trigger rule does not see.
    fn indirect_setups(&self, task: usize) -> Vec<usize> {
        let mut setups = self.needed_setups(task);
        setups.retain(|setup| !self.tasks[task].upstream.contains(setup));
        setups
    }

    /// What has to end before a teardown runs: all that comes after one of its setups and before it, however far.
    fn between(&self, task: usize) -> Vec<usize> {
        let Task { kind, upstream, .. } = &self.tasks[task];
        let setups = upstream.iter().filter(|before| kind.is_teardown() && self.tasks[**before].kind == Kind::Setup);
        let after_setups: Vec<_> = setups.flat_map(|setup| self.all_after(*setup)).collect();
        let mut between = self.all_before(task);
        between.retain(|within| after_setups.contains(within));
        between
    }

    #[expect(clippy::too_many_lines, reason = "Airflow's table, a line each")]
    /// `airflow.md` 5.3, read from left to right: what comes early, then when it runs.
    pub(super) fn decide(&self, at: At) -> Option<&'static str> {
        let Task { upstream, rule, .. } = &self.tasks[at.0];
        let upstream: Vec<_> = upstream.iter().flat_map(|task| self.along(at, *task)).collect();
        if upstream.is_empty() || *rule == "always" {
            return Some("running");
        }
        let count = |wanted: &str| upstream.iter().filter(|task| self.state(**task) == wanted).count();
        let (u, s, k, f, uf) =
            (upstream.len(), count("success"), count("skipped"), count("failed"), count("upstream_failed"));
        let d = s + k + f + uf + count("removed");
        let states = |tasks: Vec<usize>| -> Vec<&'static str> {
            tasks.into_iter().flat_map(|task| self.along(at, task)).map(|task| self.state(task)).collect()
        };
        let far = states(self.indirect_setups(at.0));
        if far.iter().any(|state| is_failed(state)) {
            return Some("upstream_failed");
        }
        if far.contains(&"skipped") {
            return Some("skipped");
        }
        let is_setup = |task: &usize| self.tasks[*task].kind == Kind::Setup;
        let setups = states(self.tasks[at.0].upstream.iter().copied().filter(is_setup).collect());
        let (early, runs): (Option<&'static str>, bool) = match *rule {
            "all_success" if f + uf > 0 => (Some("upstream_failed"), false),
            "all_success" if k > 0 => (Some("skipped"), false),
            "all_success" => (None, u - s == 0),
            "all_failed" if s + k > 0 => (Some("skipped"), false),
            "all_failed" => (None, u - f - uf == 0),
            "all_done" => (None, d >= u),
            "one_success" if d >= u && d == k => (Some("skipped"), false),
            "one_success" if d >= u && s == 0 => (Some("upstream_failed"), false),
            "one_success" => (None, s >= 1),
            "one_failed" if d >= u && f + uf == 0 => (Some("skipped"), false),
            "one_failed" => (None, f + uf >= 1),
            "one_done" if d >= u && s + f == 0 => (Some("skipped"), false),
            "one_done" => (None, s + f >= 1),
            "none_failed" if f + uf > 0 => (Some("upstream_failed"), false),
            "none_failed" => (None, u - s - k == 0),
            "none_failed_min_one_success" if f + uf > 0 => (Some("upstream_failed"), false),
            "none_failed_min_one_success" if k == u => (Some("skipped"), false),
            "none_failed_min_one_success" => (None, u - s - k == 0),
            "none_skipped" if k > 0 => (Some("skipped"), false),
            "none_skipped" => (None, d >= u && k == 0),
            "all_skipped" if s + f + uf > 0 => (Some("skipped"), false),
            "all_skipped" => (None, u - k == 0),
            "all_done_min_one_success" if k > 0 => (Some("skipped"), false),
            "all_done_min_one_success" if d >= u && s == 0 => (Some("upstream_failed"), false),
            "all_done_min_one_success" => (None, k == 0 && d >= u && s >= 1),
            "all_done_setup_success" => {
                let succeeded = setups.iter().filter(|state| **state == "success").count();
                let skipped = setups.iter().filter(|state| **state == "skipped").count();
                if d >= u && !setups.is_empty() && skipped == setups.len() {
                    (Some("skipped"), false)
                } else if d >= u && !setups.is_empty() && succeeded == 0 {
                    (Some("upstream_failed"), false)
                } else {
                    (None, d >= u)
                }
            }
            other => panic!("no such rule: {other}"),
        };
        let setups_stand = far.iter().all(|state| *state == "success");
        let is_over = states(self.between(at.0)).iter().all(|state| is_finished(state));
        early.or_else(|| (runs && setups_stand && is_over).then_some("running"))
    }
}
