//! What a run is, once more: slow, obvious, written from Airflow's rules as `airflow.md` 5 tells them, and sharing no
//! code with the engine. It keeps every task's state and looks at all of them whenever something happens.

mod mapping;
mod rules;

use std::collections::BTreeMap;

use self::mapping::Mapping;

/// A task of the model.
#[derive(Clone, Debug)]
pub struct Task {
    pub upstream: Vec<usize>,
    pub rule: &'static str,
    pub kind: Kind,
    pub retries: i32,
    pub over: Option<Over>,
    /// Whether it is in the mapped group, of which there is one at most.
    pub in_group: bool,
}

/// What a task, or the group, is mapped over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    Values(usize),
    Result(usize),
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
    /// What somebody is mapped over returns a list, or one item of it.
    Success {
        items: Option<usize>,
    },
    /// A branch: these of the tasks directly after it run.
    Branch(Vec<usize>),
    /// A short-circuit that skips everything after it.
    ShortCircuit,
    Fail,
    Skip,
}

/// A task and a map index.
pub type At = (usize, i32);

/// What a task instance is, besides its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    pub state: &'static str,
    pub tries: i32,
    pub max_tries: i32,
    /// How long the list is that it has returned, if somebody is mapped over it.
    items: Option<usize>,
    /// What it chose to skip, if it is a branch that decided.
    skips: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub tasks: Vec<Task>,
    pub group: Option<Over>,
    pub fail_fast: bool,
    pub instances: BTreeMap<At, Instance>,
    pub run: &'static str,
    /// It was marked so, and ends so when it is torn down.
    marked: Option<&'static str>,
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
    pub fn new(tasks: Vec<Task>, group: Option<Over>, fail_fast: bool) -> Self {
        let none =
            |task: &Task| Instance { state: "none", tries: 0, max_tries: task.retries, items: None, skips: Vec::new() };
        let instances = tasks.iter().enumerate().map(|(task, of)| ((task, -1), none(of))).collect();
        Self { tasks, group, fail_fast, instances, run: "queued", marked: None }
    }

    fn state(&self, at: At) -> &'static str {
        self.instances[&at].state
    }

    /// The instances of a task that have not been removed.
    pub fn of(&self, task: usize) -> Vec<At> {
        self.instances.keys().copied().filter(|at| at.0 == task && self.state(*at) != "removed").collect()
    }

    fn all(&self) -> Vec<At> {
        (0..self.tasks.len()).flat_map(|task| self.of(task)).collect()
    }

    fn share_lanes(&self, one: usize, other: usize) -> bool {
        self.tasks[one].in_group && self.tasks[other].in_group
    }

    /// The instances of another task that have to do with this one: in the group those of the same index.
    fn along(&self, (task, index): At, other: usize) -> Vec<At> {
        let in_lane = self.share_lanes(task, other);
        self.of(other).into_iter().filter(|at| !in_lane || at.1 == index).collect()
    }

    /// The instances that a worker has.
    pub fn held(&self) -> Vec<At> {
        self.all().into_iter().filter(|at| ["running", "restarting"].contains(&self.state(*at))).collect()
    }

    pub fn downstream(&self, task: usize) -> Vec<usize> {
        (0..self.tasks.len()).filter(|after| self.tasks[*after].upstream.contains(&task)).collect()
    }

    /// Whether something is mapped over what it returns.
    pub fn is_source(&self, task: usize) -> bool {
        self.tasks.iter().any(|of| of.over == Some(Over::Result(task))) || self.group == Some(Over::Result(task))
    }

    pub fn is_mapped(&self, task: usize) -> bool {
        self.tasks[task].over.is_some() || self.tasks[task].in_group
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
            for instance in self.instances.values_mut() {
                if instance.state == "up_for_retry" {
                    instance.state = "none";
                }
            }
            self.go_on();
        }
    }

    /// The attempt of a task ends.
    pub fn ends(&mut self, at: At, end: &End) {
        let (task, _) = at;
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
        let instance = self.instances.get_mut(&at).unwrap();
        if instance.state == "restarting" {
            instance.state = "up_for_retry";
        } else {
            instance.state = match end {
                End::Success { .. } | End::Branch(_) | End::ShortCircuit => "success",
                End::Skip => "skipped",
                End::Fail if retries > 0 && instance.tries <= instance.max_tries => "up_for_retry",
                End::Fail => "failed",
            };
            if instance.state == "success" {
                instance.skips = skips;
                if let End::Success { items: Some(items) } = end {
                    instance.items = Some(*items);
                }
            }
        }
        if self.state(at) == "failed" && self.fail_fast && !self.tasks[task].kind.is_teardown() {
            for other in self.all() {
                if !self.tasks[other.0].kind.is_teardown() {
                    self.stop(other, "failed");
                }
            }
        }
        self.go_on();
    }

    /// Clear: back to the beginning; what runs restarts; a run that has ended is queued.
    pub fn clear(&mut self, chosen: &[(usize, Option<i32>)], only_failed: bool) {
        let mut all = Vec::new();
        for (task, index) in chosen {
            let setups = match self.tasks[*task].kind {
                Kind::Work => self.needed_setups(*task),
                Kind::Setup => vec![*task],
                _ => Vec::new(),
            };
            for setup in setups {
                let index = index.filter(|_| setup == *task || self.share_lanes(setup, *task));
                let mut with = vec![(setup, index)];
                for teardown in self.downstream(setup).into_iter().filter(|task| self.tasks[*task].kind.is_teardown()) {
                    with.push((teardown, index.filter(|_| self.share_lanes(setup, teardown))));
                }
                all.extend(self.named(&with));
            }
        }
        all.extend(self.named(chosen));
        all.sort_unstable();
        all.dedup();
        all.retain(|at| !only_failed || is_failed(self.state(*at)));
        self.clear_exactly(&all);
    }

    fn named(&self, chosen: &[(usize, Option<i32>)]) -> Vec<At> {
        let of = |(task, index): &(usize, Option<i32>)| {
            let index = *index;
            self.of(*task).into_iter().filter(move |at| index.is_none_or(|index| index == at.1)).collect::<Vec<_>>()
        };
        chosen.iter().flat_map(of).collect()
    }

    fn clear_exactly(&mut self, chosen: &[At]) {
        for at in chosen {
            let retries = self.tasks[at.0].retries;
            let instance = self.instances.get_mut(at).unwrap();
            if instance.state != "restarting" {
                instance.state = if instance.state == "running" { "restarting" } else { "none" };
                instance.max_tries = instance.tries + retries;
            }
            instance.skips = Vec::new();
            instance.items = None;
        }
        if !chosen.is_empty() {
            self.marked = None;
            if is_finished(self.run) {
                self.run = "queued";
            }
        }
        self.go_on();
    }

    /// Mark: as if it had ended so; what failed after it is cleared.
    pub fn mark(&mut self, task: usize, index: Option<i32>, state: &'static str) {
        let marked = self.named(&[(task, index)]);
        let changed: Vec<_> = marked.iter().copied().filter(|at| self.state(*at) != state).collect();
        if changed.is_empty() {
            return;
        }
        for at in &changed {
            self.instances.get_mut(at).unwrap().state = state;
        }
        let mut failed = Vec::new();
        for after in self.all_after(task) {
            let along = match index {
                Some(index) => self.along((task, index), after),
                None => self.of(after),
            };
            failed.extend(along.into_iter().filter(|after| is_failed(self.state(*after))));
        }
        failed.sort_unstable();
        failed.dedup();
        self.clear_exactly(&failed);
    }

    /// Mark of a run.
    pub fn mark_run(&mut self, state: &'static str) {
        match state {
            "queued" => {
                self.marked = None;
                if is_finished(self.run) {
                    self.run = "queued";
                }
            }
            state => {
                let is_running = self.run == "running";
                let (teardowns, others): (Vec<_>, Vec<_>) =
                    self.all().into_iter().partition(|at| is_running && self.tasks[at.0].kind.is_teardown());
                others.into_iter().for_each(|at| self.stop(at, state));
                if teardowns.into_iter().all(|at| is_finished(self.state(at))) {
                    self.run = state;
                } else {
                    self.marked = Some(state);
                    self.go_on();
                }
            }
        }
    }

    fn stop(&mut self, at: At, then: &'static str) {
        let instance = self.instances.get_mut(&at).unwrap();
        if !is_finished(instance.state) {
            instance.state = if ["running", "restarting"].contains(&instance.state) { then } else { "skipped" };
        }
    }

    // What follows.

    /// Decides every task that waits, upstream before downstream, then the run.
    fn go_on(&mut self) {
        if self.run != "running" {
            return;
        }
        for at in self.all() {
            for skipped in self.instances[&at].skips.clone() {
                for skipped in self.along(at, skipped) {
                    if self.state(at) == "success" && self.state(skipped) == "none" {
                        self.instances.get_mut(&skipped).unwrap().state = "skipped";
                    }
                }
            }
        }
        // What was decided before a group got other instances is decided with them.
        loop {
            let before = self.all();
            self.decide_in_order();
            if self.all() == before {
                break;
            }
        }
        if self.all().into_iter().all(|at| is_finished(self.state(at))) {
            self.run = self.verdict();
            self.marked = None;
        }
    }

    fn decide_in_order(&mut self) {
        let mut decided: Vec<usize> = Vec::new();
        while decided.len() < self.tasks.len() {
            let next = (0..self.tasks.len()).find(|task| {
                !decided.contains(task) && self.tasks[*task].upstream.iter().all(|before| decided.contains(before))
            });
            let task = next.expect("a cycle");
            decided.push(task);
            self.decide_all(task);
        }
    }

    fn decide_all(&mut self, task: usize) {
        let by_map = self.decide_mapping(task);
        for at in self.of(task) {
            if self.state(at) != "none" {
                continue;
            }
            let decision = match by_map {
                Mapping::Stands => self.decide(at),
                Mapping::Waits => None,
                Mapping::Ends(state) => Some(state),
                Mapping::NeverMade => self.decide(at).map(|state| if state == "running" { "skipped" } else { state }),
            };
            if let Some(state) = decision {
                let instance = self.instances.get_mut(&at).unwrap();
                instance.state = state;
                instance.tries += i32::from(state == "running");
            }
        }
    }
}
