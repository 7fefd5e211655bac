//! What a run's tasks owe to the run before. Airflow's `depends_on_past` and `wait_for_downstream` (`airflow.md` 5.6).
//!
//! A run reads the one before, and never locks it: what changes there is written down, and this run is looked at again.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::PgConnection;

use super::held::Runs;
use crate::{
    dag::{Graph, Past},
    ids::{Node, RunKey, TaskId},
    state::TaskState,
    store::{admission::Place, rechecks},
};

/// Takes out of `ready` what must wait for the run before.
pub(super) async fn hold_back(conn: &mut PgConnection, runs: &Runs, ready: &mut Vec<Place>) -> anyhow::Result<()> {
    let mut looking: BTreeMap<RunKey, BTreeSet<Node>> = BTreeMap::new();
    for place in ready.iter() {
        if past(runs.graph(place.run_key)?, place.node) != Past::Ignored {
            looking.entry(place.run_key).or_default().insert(place.node);
        }
    }
    let mut held_back = HashSet::new();
    for (run, nodes) in looking {
        let graph = runs.graph(run)?;
        let asked: BTreeSet<_> = nodes.iter().flat_map(|node| owed(graph, *node)).collect();
        let asked: Vec<_> = asked.iter().map(|task| task.as_str().to_owned()).collect();
        let before = rechecks::states_before(conn, run, graph.window().catchup, &asked).await?;
        let is_open = |task: &TaskId| {
            before.iter().any(|before| {
                before.task_id == *task
                    && !matches!(before.state, TaskState::Success | TaskState::Skipped | TaskState::Removed)
            })
        };
        held_back.extend(nodes.into_iter().filter(|node| owed(graph, *node).any(is_open)).map(|node| (run, node)));
    }
    ready.retain(|place| !held_back.contains(&(place.run_key, place.node)));
    Ok(())
}

/// Whether a task of the next run may wait for this one.
pub(super) fn is_owed(graph: &Graph, node: Node) -> bool {
    let upstream = graph.upstream(node);
    past(graph, node) != Past::Ignored || upstream.iter().any(|before| past(graph, *before) == Past::WithDownstream)
}

fn past(graph: &Graph, node: Node) -> Past {
    graph.task(node).map(|task| task.past).unwrap_or_default()
}

/// The tasks that must have ended well in the run before: the task itself, and with `wait_for_downstream` those directly
/// after it.
fn owed(graph: &Graph, node: Node) -> impl Iterator<Item = &TaskId> {
    let after = match past(graph, node) {
        Past::WithDownstream => graph.downstream(node),
        _ => &[],
    };
    let own = std::iter::once(node).filter(move |node| past(graph, *node) != Past::Ignored);
    own.chain(after.iter().copied()).filter_map(|node| graph.task(node)).map(|task| &task.task_id)
}
