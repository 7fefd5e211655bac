//! What the states of a run's tasks lead to, for the whole run at once. Pure: used where a change may run through many
//! levels (a failure, a skip, a clear, the start of a run). A success moves on without it.

use crate::{
    dag::Graph,
    ids::Node,
    readiness::{Counts, Decision, Setups, decide},
    state::TaskState,
    store::nodes::NodeRow,
};

/// What is to be written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Steps {
    /// Nodes that may run now.
    pub ready: Vec<Node>,
    /// Nodes that end without running, in the order in which they were decided.
    pub ended: Vec<(Node, TaskState)>,
}

/// Decides every node that waits, and what follows from those that end without running.
#[must_use]
pub fn advance(graph: &Graph, nodes: &[NodeRow]) -> Steps {
    let mut run = Run {
        graph,
        counts: nodes.iter().map(|row| row.counts).collect(),
        states: nodes.iter().map(|row| row.state).collect(),
        steps: Steps::default(),
    };
    // A branch decides over its successors before their trigger rules do, also when they were cleared since.
    for row in nodes.iter().filter(|row| row.state == TaskState::Success) {
        row.skips.iter().for_each(|node| run.end(*node, TaskState::Skipped));
    }
    // In the order of the edges: of what is decided in one step, a node sees all of its upstream.
    for node in graph.in_order() {
        match run.decide(*node) {
            Decision::Wait => {}
            Decision::Run => run.steps.ready.push(*node),
            Decision::Skip => run.end(*node, TaskState::Skipped),
            Decision::UpstreamFailed => run.end(*node, TaskState::UpstreamFailed),
        }
    }
    run.steps.ready.sort_unstable();
    run.steps
}

/// A run while it is decided.
struct Run<'g> {
    graph: &'g Graph,
    counts: Vec<Counts>,
    states: Vec<TaskState>,
    steps: Steps,
}

impl Run<'_> {
    fn decide(&self, node: Node) -> Decision {
        let at = node.0 as usize;
        match (self.graph.task(node), self.states.get(at)) {
            (Some(task), Some(TaskState::None)) => decide(task.trigger_rule, self.counts[at], self.setups(node)),
            _ => Decision::Wait,
        }
    }

    fn end(&mut self, node: Node, state: TaskState) {
        let at = node.0 as usize;
        if self.states.get(at) != Some(&TaskState::None) {
            return;
        }
        self.states[at] = state;
        self.steps.ended.push((node, state));
        for next in self.graph.downstream(node) {
            let counts = &mut self.counts[next.0 as usize];
            match state {
                TaskState::Skipped => counts.skipped += 1,
                _ => counts.upstream_failed += 1,
            }
        }
    }

    fn setups(&self, node: Node) -> Setups {
        let needed = self.graph.setups(node);
        let count = |is: fn(TaskState) -> bool| {
            needed.iter().filter(|setup| self.states.get(setup.0 as usize).copied().is_some_and(is)).count() as i32
        };
        Setups {
            all: needed.len() as i32,
            success: count(|state| state == TaskState::Success),
            skipped: count(|state| state == TaskState::Skipped),
            failed: count(TaskState::is_failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prelude::*;

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
                NodeRow { node, counts, state: states[node.0 as usize], skips: Vec::new() }
            })
            .collect()
    }

    #[test]
    fn a_failure_runs_through_all_levels_and_leaves_siblings_alone() {
        // 0 -> 1 -> 2 -> 4, 0 -> 3 -> 4
        let graph = graph(&[(0, 1), (1, 2), (0, 3), (2, 4), (3, 4)], 5);
        let states = [TaskState::Success, TaskState::Failed, TaskState::None, TaskState::None, TaskState::None];
        let steps = advance(&graph, &rows(&graph, &states));
        assert_eq!(steps.ready, [Node(3)]);
        assert_eq!(steps.ended, [(Node(2), TaskState::UpstreamFailed), (Node(4), TaskState::UpstreamFailed)]);
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
            let steps = advance(&graph, &rows(&graph, &states));
            for node in &steps.ready {
                prop_assert_eq!(states[node.0 as usize], TaskState::None);
                prop_assert!(graph.upstream(*node).iter().all(|up| states[up.0 as usize] == TaskState::Success));
            }
            for (node, ended) in &steps.ended {
                prop_assert_eq!(states[node.0 as usize], TaskState::None);
                states[node.0 as usize] = *ended;
            }
            let again = advance(&graph, &rows(&graph, &states));
            prop_assert_eq!(again.ready, steps.ready);
            prop_assert!(again.ended.is_empty());
        }
    }
}
