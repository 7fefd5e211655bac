//! What the states of a run's tasks lead to, for the whole run at once. Pure: used where a change may run through many
//! levels (a failure, a skip, a clear, the start of a run), and where mapped tasks are. A success moves on without it.

use std::{collections::HashMap, ops::Range};

use crate::{
    dag::{Graph, Mapped},
    ids::Node,
    readiness::{Decision, Setups, Tally, decide},
    state::TaskState,
    store::nodes::NodeRow,
};

/// A task instance within its run: its node and its map index.
pub type At = (Node, i32);

/// What is to be written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Steps {
    /// Task instances that may run now.
    pub ready: Vec<At>,
    /// What ends without running, in the order in which it was decided.
    pub ended: Vec<Decided>,
    /// What could go on if it were known how many instances it has.
    pub unmeasured: Vec<Mapped>,
    /// What must first get another number of instances.
    pub resize: Vec<(Mapped, usize)>,
}

/// The waiting task instances of a decision, which end without running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decided {
    /// Their node.
    pub node: Node,
    /// Their lane.
    pub lane: i32,
    /// How they end.
    pub state: TaskState,
}

/// How many items the mapped tasks and groups have that have been asked about; none: there is no list.
pub type Lengths = HashMap<Mapped, Option<usize>>;

/// Decides every task instance that waits, and what follows from those that end without running.
#[must_use]
pub fn advance(graph: &Graph, rows: &[NodeRow], lengths: &Lengths) -> Steps {
    let (of_node, rows_now) = (ranges(graph, rows), rows.to_vec());
    let mut run = Run { graph, lengths, of_node, rows: rows_now, shapes: HashMap::new(), steps: Steps::default() };
    // A branch decides over its successors before their trigger rules do, also when they were cleared since.
    for branch in rows.iter().filter(|row| row.has(TaskState::Success)) {
        for skipped in &branch.skips {
            run.rows_after(branch, *skipped).for_each(|row| run.end(row, TaskState::Skipped));
        }
    }
    // In the order of the edges: of what is decided in one step, a node sees all of its upstream.
    for node in graph.in_order() {
        for row in run.of_node(*node) {
            match run.decide(row) {
                _ if !run.rows[row].has(TaskState::None) => {}
                Decision::Wait => {}
                Decision::Run => run.begin(row),
                Decision::Skip => run.end(row, TaskState::Skipped),
                Decision::UpstreamFailed => run.end(row, TaskState::UpstreamFailed),
            }
        }
    }
    run.steps.ready.sort_unstable();
    run.steps
}

/// Where the rows of each node are: they come in the order of nodes and lanes.
fn ranges(graph: &Graph, rows: &[NodeRow]) -> Vec<Range<usize>> {
    let mut ranges = vec![0..0; graph.tasks().len()];
    for (at, row) in rows.iter().enumerate() {
        if let Some(range) = ranges.get_mut(row.node.0 as usize) {
            *range = if range.start == range.end { at..at + 1 } else { range.start..at + 1 };
        }
    }
    ranges
}

/// A run while it is decided.
struct Run<'g> {
    graph: &'g Graph,
    lengths: &'g Lengths,
    rows: Vec<NodeRow>,
    of_node: Vec<Range<usize>>,
    shapes: HashMap<Mapped, Shape>,
    steps: Steps,
}

/// Which indexes a mapped task or group has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// None: one instance stands for all.
    Unexpanded,
    /// Just the first so many.
    Just(usize),
    /// Something else.
    Uneven,
}

impl Run<'_> {
    fn of_node(&self, node: Node) -> Range<usize> {
        self.of_node.get(node.0 as usize).cloned().unwrap_or_default()
    }

    /// The rows of `node` that have to do with `row`: within a mapped group that of its lane, else all.
    fn rows_after(&self, row: &NodeRow, node: Node) -> Range<usize> {
        let all = self.of_node(node);
        if !self.graph.share_lanes(row.node, node) {
            return all;
        }
        let found = self.rows[all.clone()].binary_search_by_key(&row.lane, |row| row.lane);
        found.map_or(0..0, |place| all.start + place..all.start + place + 1)
    }

    fn decide(&mut self, at: usize) -> Decision {
        let row = &self.rows[at];
        let Some(task) = self.graph.task(row.node).filter(|_| row.has(TaskState::None)) else { return Decision::Wait };
        let by_rule = decide(task.trigger_rule, row.counts, self.setups(row));
        match self.graph.mapped(row.node) {
            None => by_rule,
            Some(mapped) => self.decide_mapped(mapped, row.node, by_rule),
        }
    }

    /// A mapped task has its instances when it may run; a mapped group when what it is mapped over is there, for its
    /// tasks decide index by index. Airflow's `MappedTaskUpstreamDep`: what it is mapped over decides first.
    fn decide_mapped(&mut self, mapped: Mapped, node: Node, by_rule: Decision) -> Decision {
        match self.source(node) {
            Decision::Run => {}
            // Inside of a group that has its indexes, its own upstream decides.
            _ if self.shape(mapped) != Shape::Unexpanded && !self.graph.comes_after_source(node) => return by_rule,
            other => return other,
        }
        if matches!(mapped, Mapped::Task(_)) && by_rule != Decision::Run {
            return by_rule;
        }
        let Some(length) = self.lengths.get(&mapped).copied() else {
            push_new(&mut self.steps.unmeasured, mapped);
            return Decision::Wait;
        };
        match (length, self.shape(mapped)) {
            (None, _) => Decision::UpstreamFailed,
            (Some(0), Shape::Unexpanded) => Decision::Skip,
            (Some(_), Shape::Unexpanded) if self.has_begun(mapped) => match by_rule {
                // A branch has skipped a part of the group, or somebody has marked it: it has no indexes.
                Decision::Run => Decision::Skip,
                other => other,
            },
            (Some(length), Shape::Just(instances)) if instances == length => by_rule,
            (Some(length), _) => {
                push_new(&mut self.steps.resize, (mapped, length));
                Decision::Wait
            }
        }
    }

    /// Whether what `node` is mapped over is there.
    fn source(&self, node: Node) -> Decision {
        let Some(source) = self.graph.source(node) else { return Decision::Run };
        let states = || self.rows[self.of_node(source)].iter().flat_map(NodeRow::existing);
        if states().any(|(_, state)| !state.is_finished()) {
            return Decision::Wait;
        }
        // Of a mapped one, what its instances returned is there, however the others ended.
        let alone = states().find(|(index, _)| *index < 0).map(|(_, state)| state);
        match alone {
            Some(state) if state.is_failure() => Decision::UpstreamFailed,
            Some(TaskState::Skipped) => Decision::Skip,
            _ => Decision::Run,
        }
    }

    /// Which indexes it has. Deciding changes none of them, so it is looked up once: a group has a row for every index.
    fn shape(&mut self, mapped: Mapped) -> Shape {
        if let Some(shape) = self.shapes.get(&mapped) {
            return *shape;
        }
        let mut shape = None;
        for node in self.graph.members(mapped) {
            let existing = self.rows[self.of_node(node)].iter().flat_map(NodeRow::existing);
            let mut indexes: Vec<_> = existing.map(|(index, _)| index).collect();
            indexes.sort_unstable();
            let of_node = match indexes.first() {
                // Taken out by a deploy, and stays so.
                None => continue,
                Some(-1) => Shape::Unexpanded,
                Some(_) if indexes.iter().copied().eq(0..indexes.len() as i32) => Shape::Just(indexes.len()),
                Some(_) => Shape::Uneven,
            };
            shape = match shape {
                None => Some(of_node),
                Some(Shape::Unexpanded) => Some(Shape::Unexpanded),
                Some(_) if of_node == Shape::Unexpanded => Some(Shape::Unexpanded),
                Some(other) if other == of_node => Some(other),
                Some(_) => Some(Shape::Uneven),
            };
        }
        let shape = shape.unwrap_or(Shape::Uneven);
        self.shapes.insert(mapped, shape);
        shape
    }

    /// Whether a part of what has no indexes yet has ended.
    fn has_begun(&self, mapped: Mapped) -> bool {
        let rows = self.graph.members(mapped).into_iter().flat_map(|node| &self.rows[self.of_node(node)]);
        rows.flat_map(NodeRow::existing).any(|(index, state)| index < 0 && state != TaskState::None)
    }

    fn begin(&mut self, at: usize) {
        let row = &self.rows[at];
        let waiting = row.instances.iter().filter(|(_, state)| *state == TaskState::None);
        self.steps.ready.extend(waiting.map(|(index, _)| (row.node, *index)));
    }

    fn end(&mut self, at: usize, state: TaskState) {
        let mut ended = 0;
        for (_, waiting) in self.rows[at].instances.iter_mut().filter(|(_, state)| *state == TaskState::None) {
            *waiting = state;
            ended += 1;
        }
        if ended == 0 {
            return;
        }
        let row = &self.rows[at];
        let node = row.node;
        self.steps.ended.push(Decided { node, lane: row.lane, state });
        let after: Vec<_> = self.graph.downstream(node).iter().map(|next| self.rows_after(row, *next)).collect();
        for next in after.into_iter().flatten() {
            let counts = &mut self.rows[next].counts;
            match state {
                TaskState::Skipped => counts.skipped += ended,
                _ => counts.upstream_failed += ended,
            }
        }
    }

    fn setups(&self, row: &NodeRow) -> Setups {
        let open = self.states(row, self.graph.scope(row.node).iter().copied());
        Setups {
            near: tally(self.states(row, self.graph.near_setups(row.node))),
            far: tally(self.states(row, self.graph.far_setups(row.node).iter().copied())),
            open: open.filter(|state| !state.is_finished()).count() as i32,
        }
    }

    /// The states of those instances of `nodes` that have to do with `row`.
    fn states(&self, row: &NodeRow, nodes: impl Iterator<Item = Node>) -> impl Iterator<Item = TaskState> {
        let rows = nodes.flat_map(|node| &self.rows[self.rows_after(row, node)]);
        rows.flat_map(NodeRow::existing).map(|(_, state)| state)
    }
}

fn tally(states: impl Iterator<Item = TaskState>) -> Tally {
    states.fold(Tally::default(), |tally, state| Tally {
        all: tally.all + 1,
        success: tally.success + i32::from(state == TaskState::Success),
        skipped: tally.skipped + i32::from(state == TaskState::Skipped),
        failed: tally.failed + i32::from(state.is_failure()),
    })
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{prelude::*, readiness::Counts};

    async fn nothing(_: Context) -> TaskResult<()> {
        Ok(())
    }

    fn graph(edges: &[(usize, usize)], tasks: usize) -> std::sync::Arc<Graph> {
        let dag = Dag::new("d");
        let handles: Vec<_> = (0..tasks).map(|task| dag.task(&format!("t{task}"), nothing)).collect();
        for (from, to) in edges {
            dag.chain(handles[*from] >> handles[*to]);
        }
        dag.build().unwrap().graph().clone()
    }

    /// The rows that the database would hold for these states.
    fn rows(graph: &Graph, states: &[TaskState]) -> Vec<NodeRow> {
        graph
            .nodes()
            .map(|node| {
                let mut counts = Counts { upstream: graph.upstream(node).len() as i32, ..Counts::default() };
                for upstream in graph.upstream(node) {
                    match states[upstream.0 as usize] {
                        TaskState::Success => counts.success += 1,
                        TaskState::Failed => counts.failed += 1,
                        TaskState::Skipped => counts.skipped += 1,
                        TaskState::UpstreamFailed => counts.upstream_failed += 1,
                        _ => {}
                    }
                }
                NodeRow { node, lane: -1, counts, instances: vec![(-1, states[node.0 as usize])], skips: Vec::new() }
            })
            .collect()
    }

    #[test]
    fn a_failure_runs_through_all_levels_and_leaves_siblings_alone() {
        // 0 -> 1 -> 2 -> 4, 0 -> 3 -> 4
        let graph = graph(&[(0, 1), (1, 2), (0, 3), (2, 4), (3, 4)], 5);
        let states = [TaskState::Success, TaskState::Failed, TaskState::None, TaskState::None, TaskState::None];
        let steps = advance(&graph, &rows(&graph, &states), &Lengths::new());
        assert_eq!(steps.ready, [(Node(3), -1)]);
        let ended = |node| Decided { node, lane: -1, state: TaskState::UpstreamFailed };
        assert_eq!(steps.ended, [ended(Node(2)), ended(Node(4))]);
    }

    proptest! {
        #[test]
        fn one_pass_is_enough_and_only_waiting_nodes_move(
            edges in proptest::collection::vec((0_usize..8, 0_usize..8), 0..20),
            picks in proptest::collection::vec(0_usize..5, 8),
        ) {
            let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from < to).collect();
            let graph = graph(&edges, 8);
            let choices = [
                TaskState::None, TaskState::Success, TaskState::Failed, TaskState::Skipped, TaskState::Running,
            ];
            let mut states: Vec<_> = picks.iter().map(|pick| choices[*pick]).collect();
            let steps = advance(&graph, &rows(&graph, &states), &Lengths::new());
            for (node, _) in &steps.ready {
                prop_assert_eq!(states[node.0 as usize], TaskState::None);
                prop_assert!(graph.upstream(*node).iter().all(|up| states[up.0 as usize] == TaskState::Success));
            }
            for Decided { node, state: ended, .. } in &steps.ended {
                prop_assert_eq!(states[node.0 as usize], TaskState::None);
                states[node.0 as usize] = *ended;
            }
            let again = advance(&graph, &rows(&graph, &states), &Lengths::new());
            prop_assert_eq!(again.ready, steps.ready);
            prop_assert!(again.ended.is_empty());
        }
    }
}
