//! The timeline of a run: for each task instance how long it waited and how long it ran, and which of them the run had
//! to wait for.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use orchestrator::{dag::Graph, ids::Node, state::TaskState, store::pages::instances::InstanceListed};

use super::{links, words};

/// The timeline, in units of its picture.
pub(super) struct Gantt {
    pub(super) rows: Vec<Row>,
    pub(super) marks: Vec<(i64, String)>,
    pub(super) width: i64,
    pub(super) height: i64,
}

/// A task instance in it.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) link: String,
    pub(super) state: TaskState,
    /// What it says when asked.
    pub(super) label: String,
    pub(super) y: i64,
    /// What it depends on had ended, and it stood in line for a slot.
    pub(super) lined: Option<Span>,
    /// It had its slots, and waited for a worker.
    pub(super) queued: Option<Span>,
    pub(super) ran: Span,
    /// Whether the run would have ended sooner without it.
    pub(super) is_critical: bool,
}

/// A part of the width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) x: i64,
    pub(super) width: i64,
}

const ROW: i64 = 24;

/// How wide time is, and what stands right of its last mark.
const WIDTH: i64 = 1_000;
const RIGHT: i64 = 90;

/// Where names end and time begins: as far right as the longest name needs.
fn left_of(names: impl Iterator<Item = usize>) -> i64 {
    (names.max().unwrap_or(0) as i64 * 7 + 20).clamp(60, 400)
}

fn name_of(instance: &InstanceListed) -> String {
    match instance.map_index {
        -1 => instance.task_id.to_string(),
        index => format!("{} [{index}]", instance.task_id),
    }
}

impl Gantt {
    pub(super) fn of(graph: &Graph, instances: &[InstanceListed], now: DateTime<Utc>) -> Self {
        let started: Vec<_> = instances.iter().filter(|instance| instance.start_date.is_some()).collect();
        let ends = ends(instances);
        let ready = |of: &InstanceListed| {
            let before = graph.upstream(of.node);
            // Its second try was ready at another time, which nobody has written down.
            let is_told = of.try_number == 1 && before.iter().all(|node| ends.contains_key(node));
            before.iter().filter_map(|node| ends.get(node).copied()).max().filter(|_| is_told)
        };
        let first = started.iter().filter_map(|i| i.queued_at.or(i.start_date)).min().unwrap_or(now);
        let last = started.iter().map(|i| i.end_date.unwrap_or(now)).max().unwrap_or(now);
        let length = (last - first).num_microseconds().unwrap_or(1).max(1);
        let at = |at: DateTime<Utc>| (at - first).num_microseconds().unwrap_or(0).clamp(0, length) * WIDTH / length;
        let critical = critical(graph, &started);
        let left = left_of(started.iter().map(|instance| name_of(instance).chars().count()));
        let row = |(ordinal, instance): (usize, &&InstanceListed)| {
            let start = instance.start_date.unwrap_or(first);
            let end = instance.end_date.unwrap_or(now);
            let span = |from, to| Span { x: left + at(from), width: (at(to) - at(from)).max(2) };
            let queued = instance.queued_at.filter(|queued| *queued < start);
            let name = name_of(instance);
            let from = queued.unwrap_or(start);
            let lined = ready(instance).filter(|ready| *ready < from);
            let told = |what: &str, since: Option<DateTime<Utc>>, until| {
                since.map_or_else(String::new, |since| {
                    format!("{what} {}, ", words::took(Some(since), Some(until), now))
                })
            };
            let waited = told("in line for a slot", lined, from) + &told("waited for a worker", queued, start);
            Row {
                link: links::task(&instance.dag_id, &instance.run_id, &instance.task_id, instance.map_index),
                state: instance.state,
                label: format!("{name}: {waited}ran {}", words::took(Some(start), Some(end), now)),
                name,
                y: ROW + ordinal as i64 * ROW,
                lined: lined.map(|ready| span(ready, from)),
                queued: queued.map(|queued| span(queued, start)),
                ran: span(start, end),
                is_critical: critical.contains(&(instance.node, instance.map_index)),
            }
        };
        let marks = marks(length / 1_000).map(|at| (left + WIDTH * at * 1_000 / length, words::duration(at)));
        let rows: Vec<_> = started.iter().enumerate().map(row).collect();
        Self { width: left + WIDTH + RIGHT, height: ROW * (rows.len() as i64 + 1) + 8, marks: marks.collect(), rows }
    }
}

/// Steps that people count in, in milliseconds.
const STEPS: [i64; 27] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    900_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000,
];

/// Marks on a timeline.
const MARKS: i64 = 6;

/// Where the marks of a timeline of so many milliseconds are: at even instants, few enough to be read.
fn marks(length: i64) -> impl Iterator<Item = i64> {
    let days = |step: &i64| step * (length / (step * MARKS) + 1);
    let fits = STEPS.into_iter().find(|step| length / step <= MARKS);
    let step = fits.or_else(|| STEPS.last().map(days)).unwrap_or(1);
    (0..=length / step).map(move |mark| mark * step)
}

/// When the last instance of each node ended, of those all of whose instances have.
fn ends(instances: &[InstanceListed]) -> HashMap<Node, DateTime<Utc>> {
    let mut ends: HashMap<Node, Option<DateTime<Utc>>> = HashMap::new();
    for instance in instances {
        let end = instance.end_date.filter(|_| instance.state.is_finished());
        let known = ends.entry(instance.node).or_insert(end);
        *known = known.zip(end).map(|(known, end)| known.max(end));
    }
    ends.into_iter().filter_map(|(node, end)| Some((node, end?))).collect()
}

/// The chain of task instances that the run had to wait for, from its end: each the one before it that ended last.
fn critical(graph: &Graph, started: &[&InstanceListed]) -> HashSet<(Node, i32)> {
    let mut by_node: HashMap<Node, &InstanceListed> = HashMap::new();
    for instance in started.iter().filter(|instance| instance.end_date.is_some()) {
        let known = by_node.entry(instance.node).or_insert(instance);
        if known.end_date < instance.end_date {
            *known = instance;
        }
    }
    let mut chain = HashSet::new();
    let mut next = by_node.values().max_by_key(|instance| instance.end_date).copied();
    while let Some(instance) = next {
        chain.insert((instance.node, instance.map_index));
        let before = graph.upstream(instance.node).iter().filter_map(|node| by_node.get(node).copied());
        next = before.max_by_key(|instance| instance.end_date);
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_at_even_instants_and_few() {
        let of = |length| marks(length).collect::<Vec<_>>();
        assert_eq!(of(33), [0, 5, 10, 15, 20, 25, 30]);
        assert_eq!(of(0), [0]);
        assert_eq!(of(12_000), [0, 2_000, 4_000, 6_000, 8_000, 10_000, 12_000]);
        assert_eq!(of(4 * 60_000), [0, 60_000, 120_000, 180_000, 240_000]);
        for length in (0..60).map(|doubled| 1_i64 << doubled) {
            assert!(of(length).len() <= MARKS as usize + 1 && of(length).last() <= Some(&length), "{length}");
        }
    }
}
