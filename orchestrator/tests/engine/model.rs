//! What a run is, once more: slow, obvious, written from Airflow's rules as `airflow.md` 5 tells them, and sharing no
//! code with the engine. It keeps every task's state and looks at all of them whenever something happens.

/// A task of the model.
#[derive(Clone, Debug)]
pub struct Task {
    pub upstream: Vec<usize>,
    pub rule: &'static str,
    pub kind: Kind,
    pub retries: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Work,
    Setup,
    Teardown,
    DecisiveTeardown,
}

/// How an attempt ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    Success,
    /// A branch: these of the tasks directly after it run.
    Branch(Vec<usize>),
    /// A short-circuit that skips everything after it.
    ShortCircuit,
    Fail,
    Skip,
}

/// What a task instance is, besides its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    pub state: &'static str,
    pub tries: i32,
    pub max_tries: i32,
    /// What it chose to skip, if it is a branch that decided.
    skips: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub tasks: Vec<Task>,
    pub fail_fast: bool,
    pub instances: Vec<Instance>,
    pub run: &'static str,
}

pub fn is_finished(state: &str) -> bool {
    ["success", "failed", "skipped", "upstream_failed", "removed"].contains(&state)
}

fn is_failed(state: &str) -> bool {
    ["failed", "upstream_failed"].contains(&state)
}

impl Kind {
    fn is_teardown(self) -> bool {
        matches!(self, Self::Teardown | Self::DecisiveTeardown)
    }
}

impl Model {
    /// A run that is queued.
    pub fn new(tasks: Vec<Task>, fail_fast: bool) -> Self {
        let none = |task: &Task| Instance { state: "none", tries: 0, max_tries: task.retries, skips: Vec::new() };
        Self { instances: tasks.iter().map(none).collect(), tasks, fail_fast, run: "queued" }
    }

    pub fn state(&self, task: usize) -> &'static str {
        self.instances[task].state
    }

    /// The tasks that a worker has.
    pub fn held(&self) -> Vec<usize> {
        (0..self.tasks.len()).filter(|task| ["running", "restarting"].contains(&self.state(*task))).collect()
    }

    pub fn downstream(&self, task: usize) -> Vec<usize> {
        (0..self.tasks.len()).filter(|after| self.tasks[*after].upstream.contains(&task)).collect()
    }

    fn all_after(&self, task: usize) -> Vec<usize> {
        let mut after = self.downstream(task);
        for next in self.downstream(task) {
            after.extend(self.all_after(next));
        }
        after
    }

    fn all_before(&self, task: usize) -> Vec<usize> {
        let mut before = self.tasks[task].upstream.clone();
        for previous in &self.tasks[task].upstream {
            before.extend(self.all_before(*previous));
        }
        before
    }

    // What happens.

    /// A queued run starts; retries whose time has come are tried.
    pub fn scheduler_passes(&mut self) {
        if self.run == "queued" {
            self.run = "running";
        }
        if self.run == "running" {
            for instance in &mut self.instances {
                if instance.state == "up_for_retry" {
                    instance.state = "none";
                }
            }
            self.go_on();
        }
    }

    /// The attempt of a task ends.
    pub fn ends(&mut self, task: usize, end: &End) {
        let retries = self.tasks[task].retries;
        let after = self.downstream(task);
        let beyond = self.all_after(task);
        let not_teardown: Vec<_> = beyond.into_iter().filter(|task| !self.tasks[*task].kind.is_teardown()).collect();
        let skips = match end {
            End::Branch(chosen) => {
                let mut followed = chosen.clone();
                chosen.iter().for_each(|chosen| followed.extend(self.all_after(*chosen)));
                after.into_iter().filter(|task| !followed.contains(task)).collect()
            }
            End::ShortCircuit => not_teardown,
            _ => Vec::new(),
        };
        let instance = &mut self.instances[task];
        if instance.state == "restarting" {
            instance.state = "up_for_retry";
        } else {
            instance.state = match end {
                End::Success | End::Branch(_) | End::ShortCircuit => "success",
                End::Skip => "skipped",
                End::Fail if retries > 0 && instance.tries <= instance.max_tries => "up_for_retry",
                End::Fail => "failed",
            };
            if instance.state == "success" {
                instance.skips = skips;
            }
        }
        if self.state(task) == "failed" && self.fail_fast && !self.tasks[task].kind.is_teardown() {
            for other in 0..self.tasks.len() {
                if !self.tasks[other].kind.is_teardown() {
                    self.stop(other);
                }
            }
        }
        self.go_on();
    }

    /// Clear: back to the beginning; what runs restarts; a run that has ended is queued.
    pub fn clear(&mut self, chosen: &[usize], only_failed: bool) -> Vec<usize> {
        let mut all = chosen.to_vec();
        for task in chosen {
            let setups = match self.tasks[*task].kind {
                Kind::Work => self.setups_of(*task),
                Kind::Setup => vec![*task],
                _ => Vec::new(),
            };
            for setup in setups {
                all.push(setup);
                all.extend(self.downstream(setup).into_iter().filter(|task| self.tasks[*task].kind.is_teardown()));
            }
        }
        all.sort_unstable();
        all.dedup();
        all.retain(|task| !only_failed || is_failed(self.state(*task)));
        self.clear_exactly(&all);
        all
    }

    fn clear_exactly(&mut self, chosen: &[usize]) {
        for task in chosen {
            let retries = self.tasks[*task].retries;
            let instance = &mut self.instances[*task];
            if instance.state != "restarting" {
                instance.state = if instance.state == "running" { "restarting" } else { "none" };
                instance.max_tries = instance.tries + retries;
            }
            instance.skips = Vec::new();
        }
        if !chosen.is_empty() && is_finished(self.run) {
            self.run = "queued";
        }
        self.go_on();
    }

    /// Mark: as if it had ended so; what failed after it is cleared.
    pub fn mark(&mut self, task: usize, state: &'static str) {
        if self.state(task) == state {
            return;
        }
        self.instances[task].state = state;
        let mut failed: Vec<_> =
            self.all_after(task).into_iter().filter(|after| is_failed(self.state(*after))).collect();
        failed.sort_unstable();
        failed.dedup();
        self.clear_exactly(&failed);
    }

    /// Mark of a run.
    pub fn mark_run(&mut self, state: &'static str) {
        match state {
            "queued" => {
                if is_finished(self.run) {
                    self.run = "queued";
                }
            }
            "failed" => {
                (0..self.tasks.len()).for_each(|task| self.stop(task));
                self.run = "failed";
            }
            _ => {
                let open =
                    |model: &Self, task: usize| model.tasks[task].kind.is_teardown() && !is_finished(model.state(task));
                for task in 0..self.tasks.len() {
                    if !open(self, task) {
                        self.instances[task].state = "success";
                    }
                }
                if (0..self.tasks.len()).any(|task| open(self, task)) {
                    self.go_on();
                } else {
                    self.run = "success";
                }
            }
        }
    }

    fn stop(&mut self, task: usize) {
        let instance = &mut self.instances[task];
        if !is_finished(instance.state) {
            instance.state = if ["running", "restarting"].contains(&instance.state) { "failed" } else { "skipped" };
        }
    }

    // What follows.

    /// Decides every task that waits, upstream before downstream, then the run.
    fn go_on(&mut self) {
        if self.run != "running" {
            return;
        }
        let mut decided: Vec<usize> = Vec::new();
        for (task, chosen) in self.instances.clone().iter().enumerate() {
            for skipped in &chosen.skips {
                if self.state(task) == "success" && self.state(*skipped) == "none" {
                    self.instances[*skipped].state = "skipped";
                }
            }
        }
        while decided.len() < self.tasks.len() {
            let next = (0..self.tasks.len()).find(|task| {
                !decided.contains(task) && self.tasks[*task].upstream.iter().all(|before| decided.contains(before))
            });
            let task = next.expect("a cycle");
            decided.push(task);
            if self.state(task) == "none"
                && let Some(state) = self.decide(task)
            {
                self.instances[task].state = state;
                if state == "running" {
                    self.instances[task].tries += 1;
                }
            }
        }
        if self.instances.iter().all(|instance| is_finished(instance.state)) {
            self.run = self.verdict();
        }
    }

    fn verdict(&self) -> &'static str {
        let is_leaf = |task: usize| match self.tasks[task].kind {
            Kind::Teardown => false,
            Kind::DecisiveTeardown => true,
            _ => self.downstream(task).iter().all(|after| self.tasks[*after].kind.is_teardown()),
        };
        let failed = (0..self.tasks.len()).any(|task| is_leaf(task) && is_failed(self.state(task)));
        if failed { "failed" } else { "success" }
    }

    /// The setups that a task needs: for a teardown those directly before it; else all before it whose teardown, if
    /// there is one, does not come before it too.
    fn setups_of(&self, task: usize) -> Vec<usize> {
        let is_setup = |task: &usize| self.tasks[*task].kind == Kind::Setup;
        if self.tasks[task].kind.is_teardown() {
            return self.tasks[task].upstream.iter().copied().filter(is_setup).collect();
        }
        let after = {
            let mut after = self.all_after(task);
            after.push(task);
            after
        };
        let is_open = |setup: &usize| {
            let teardowns: Vec<_> =
                self.downstream(*setup).into_iter().filter(|task| self.tasks[*task].kind.is_teardown()).collect();
            teardowns.is_empty() || teardowns.iter().any(|teardown| after.contains(teardown))
        };
        let mut setups: Vec<_> = self.all_before(task).into_iter().filter(is_setup).filter(is_open).collect();
        setups.sort_unstable();
        setups.dedup();
        setups
    }

    #[expect(clippy::too_many_lines, reason = "Airflow's table, a line each")]
    /// `airflow.md` 5.3, read from left to right: what comes early, then when it runs.
    fn decide(&self, task: usize) -> Option<&'static str> {
        let Task { upstream, rule, .. } = &self.tasks[task];
        if upstream.is_empty() || *rule == "always" {
            return Some("running");
        }
        let count = |wanted: &str| upstream.iter().filter(|task| self.state(**task) == wanted).count();
        let (u, s, k, f, uf) =
            (upstream.len(), count("success"), count("skipped"), count("failed"), count("upstream_failed"));
        let d = s + k + f + uf + count("removed");
        let setups: Vec<_> = self.setups_of(task).into_iter().map(|setup| self.state(setup)).collect();
        if *rule != "all_done_setup_success" {
            if setups.iter().any(|state| is_failed(state)) {
                return Some("upstream_failed");
            }
            if setups.contains(&"skipped") {
                return Some("skipped");
            }
        }
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
        let setups_stand = *rule == "all_done_setup_success" || setups.iter().all(|state| *state == "success");
        early.or_else(|| (runs && setups_stand).then_some("running"))
    }
}
