//! Which instances a mapped task or group has.

use super::{Instance, Model, Over, is_failed, is_finished};

/// What the mapping of a task says of its instances.
#[derive(Clone, Copy)]
pub(super) enum Mapping {
    /// Each is decided by its rule.
    Stands,
    /// They are not there yet.
    Waits,
    /// They end so.
    Ends(&'static str),
    /// A part of the group has ended before they were made.
    NeverMade,
}

impl Model {
    /// Whether the instances of a task are there, or can be made now: a mapped task's when it may run, a mapped group's
    /// when what it is mapped over is there.
    pub(super) fn decide_mapping(&mut self, task: usize) -> Mapping {
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
}
