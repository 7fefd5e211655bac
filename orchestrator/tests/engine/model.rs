//! What a run is, once more: slow, obvious, written from Airflow's rules as `airflow.md` 5 tells them, and sharing no
//! code with the engine. It keeps every task's state and looks at all of them whenever something happens.

use std::collections::BTreeMap;

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

    /// Whether the instances of a task are there, or can be made now: a mapped task's when it may run, a mapped group's
    /// when what it is mapped over is there.
    fn decide_mapping(&mut self, task: usize) -> Mapping {
        let in_group = self.tasks[task].in_group;
        let Some(over) = self.tasks[task].over.or(if in_group { self.group } else { None }) else {
            return Mapping::Stands;
        };
        if !self.of(task).into_iter().any(|at| self.state(at) == "none") {
            return Mapping::Stands;
        }
        if let Over::Result(source) = over {
            let states: Vec<_> = self.of(source).into_iter().map(|at| (at.1, self.state(at))).collect();
            // Inside of a group that has its indexes, its own upstream decides.
            let is_there = self.of(task).into_iter().all(|at| at.1 >= 0);
            let decides_alone = is_there && !self.tasks[task].upstream.contains(&source);
            if states.iter().any(|(_, state)| !is_finished(state)) {
                return if decides_alone { Mapping::Stands } else { Mapping::Waits };
            }
            match states.iter().find(|(index, _)| *index < 0) {
                Some((_, state)) if decides_alone && *state != "success" => return Mapping::Stands,
                Some((_, state)) if is_failed(state) => return Mapping::Ends("upstream_failed"),
                Some((_, "skipped")) => return Mapping::Ends("skipped"),
                _ => {}
            }
        }
        let members: Vec<_> = match in_group {
            true => (0..self.tasks.len()).filter(|task| self.tasks[*task].in_group).collect(),
            false => vec![task],
        };
        let is_unmade = members.iter().flat_map(|task| self.of(*task)).any(|at| at.1 < 0);
        let length = self.length(over);
        if in_group && length.is_some_and(|length| length > 0) {
            let has_begun = members.iter().flat_map(|task| self.of(*task));
            if has_begun.into_iter().any(|at| at.1 < 0 && self.state(at) != "none") {
                return Mapping::NeverMade;
            }
        }
        if !in_group {
            let first = self.of(task).into_iter().find(|at| self.state(*at) == "none").unwrap();
            match self.decide(first) {
                Some("running") => {}
                _ => return Mapping::Stands,
            }
        }
        match length {
            None => return Mapping::Ends("upstream_failed"),
            Some(0) if is_unmade => return Mapping::Ends("skipped"),
            Some(length) => members.into_iter().for_each(|member| self.resize(member, length as i32)),
        }
        if length == Some(0) && self.of(task).into_iter().any(|at| at.1 < 0) {
            return Mapping::Ends("skipped");
        }
        Mapping::Stands
    }

    fn length(&self, over: Over) -> Option<usize> {
        match over {
            Over::Values(length) => Some(length),
            Over::Result(source) if self.of(source).into_iter().any(|at| at.1 >= 0) => {
                Some(self.of(source).into_iter().filter(|at| self.instances[at].items.is_some()).count())
            }
            Over::Result(source) => self.instances[&(source, -1)].items,
        }
    }

    fn resize(&mut self, task: usize, length: i32) {
        let retries = self.tasks[task].retries;
        if length > 0
            && let Some(alone) = self.instances.remove(&(task, -1))
        {
            self.instances.entry((task, 0)).or_insert(alone);
        }
        for index in if length > 0 { 0..length } else { -1..0 } {
            let instance = self.instances.entry((task, index)).or_insert(Instance {
                state: "none",
                tries: 0,
                max_tries: retries,
                items: None,
                skips: Vec::new(),
            });
            if instance.state == "removed" {
                instance.state = "none";
                instance.max_tries = instance.tries + retries;
            }
        }
        for at in self.of(task).into_iter().filter(|at| at.1 >= length) {
            let instance = self.instances.get_mut(&at).unwrap();
            (instance.state, instance.items, instance.skips) = ("removed", None, Vec::new());
        }
    }

    fn verdict(&self) -> &'static str {
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
    fn needed_setups(&self, task: usize) -> Vec<usize> {
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
    fn decide(&self, at: At) -> Option<&'static str> {
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

/// What the mapping of a task says of its instances.
#[derive(Clone, Copy)]
enum Mapping {
    /// Each is decided by its rule.
    Stands,
    /// They are not there yet.
    Waits,
    /// They end so.
    Ends(&'static str),
    /// A part of the group has ended before they were made.
    NeverMade,
}
