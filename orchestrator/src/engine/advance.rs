//! What the states of a run's tasks lead to, for the whole run at once. Pure: used where a change may run through many
//! levels (a failure, a skip, a clear, the start of a run). A success moves on without it.

use crate::{
    dag::Graph,
    ids::Node,
    readiness::{Counts, Decision, decide},
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
    let mut counts: Vec<Counts> = nodes.iter().map(|row| row.counts).collect();
    let mut steps = Steps::default();
    let mut open: Vec<Node> = nodes.iter().map(|row| row.node).collect();
    let mut decided = vec![false; nodes.len()];
    while let Some(node) = open.pop() {
        let at = node.0 as usize;
        let (Some(task), Some(row)) = (graph.task(node), nodes.get(at)) else { continue };
        if row.state != TaskState::None || decided[at] {
            continue;
        }
        let ended = match decide(task.trigger_rule, counts[at]) {
            Decision::Wait => continue,
            Decision::Run => {
                decided[at] = true;
                steps.ready.push(node);
                continue;
            }
            Decision::Skip => TaskState::Skipped,
            Decision::UpstreamFailed => TaskState::UpstreamFailed,
        };
        decided[at] = true;
        steps.ended.push((node, ended));
        for next in graph.downstream(node) {
            let counts = &mut counts[next.0 as usize];
            match ended {
                TaskState::Skipped => counts.skipped += 1,
                _ => counts.upstream_failed += 1,
            }
            open.push(*next);
        }
    }
    steps.ready.sort_unstable();
    steps
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
                NodeRow { node, counts, state: states[node.0 as usize] }
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
