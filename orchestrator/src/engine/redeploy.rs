//! A run goes over to another version of its DAG: its task instances get the nodes of the new graph, by the names of
//! their tasks.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{create::nodes_of, graphs::Graphs};
use crate::{
    dag::Graph,
    ids::{Node, TaskId, VersionId},
    state::TaskState,
    store::{
        nodes,
        overrides::{self, Chosen},
        redeploy::{self, Places},
        run_locks::LockedRun,
    },
};

/// Takes a run to another version. Tasks that it has no more are removed, new ones wait, the others keep what happened
/// to them; what became a mapped task, or is one no more, begins anew. False if a task of the run runs or stands in
/// line: such a one goes by the nodes of its own version. Hold the run's lock.
///
/// # Errors
/// The database is down.
pub async fn redeploy(
    conn: &mut PgConnection,
    graphs: &Graphs,
    run: &LockedRun,
    to: VersionId,
) -> anyhow::Result<bool> {
    let existing = overrides::lock_of_run(conn, run.run_key).await?;
    if !existing.iter().all(is_at_rest) {
        return Ok(false);
    }
    let (before, after) = (graphs.get(conn, run.version).await?, graphs.get(conn, to).await?);
    let skips = skips_by_name(conn, &before, run).await?;
    let (kept, new): (Vec<_>, Vec<_>) = after.nodes().partition(|node| has_instance(&after, *node, &existing));
    redeploy::place(conn, run.run_key, &places(&before, &after, &kept)).await?;
    nodes::insert(conn, run.run_key, &nodes_of(&after, new)).await?;
    for ((branch, lane), skipped) in skips {
        let Some(node) = after.node(&branch) else { continue };
        let mut skipped: Vec<_> = skipped.iter().filter_map(|task| after.node(task)).collect();
        skipped.extend(newly_after(&before, &after, &branch, node));
        nodes::keep_skips(conn, run.run_key, node, lane, &skipped).await?;
    }
    redeploy::set_version(conn, run.run_key, to).await?;
    nodes::recount(conn, run.run_key, after.edges()).await?;
    Ok(true)
}

/// Of a task that is not mapped an instance with an index is none of its own.
fn has_instance(graph: &Graph, node: Node, existing: &[Chosen]) -> bool {
    let Some(task) = graph.task(node) else { return false };
    let is_mapped = graph.mapped(node).is_some();
    existing.iter().any(|instance| instance.task_id == task.task_id && (is_mapped || instance.map_index == -1))
}

fn is_at_rest(instance: &Chosen) -> bool {
    let runs =
        matches!(instance.state, TaskState::Scheduled | TaskState::Queued | TaskState::Running | TaskState::Restarting);
    !runs && instance.waits_for.is_none()
}

/// What branches chose, by names.
async fn skips_by_name(
    conn: &mut PgConnection,
    graph: &Graph,
    run: &LockedRun,
) -> sqlx::Result<BTreeMap<(TaskId, i32), Vec<TaskId>>> {
    let name = |node: Node| graph.task(node).map(|task| task.task_id.clone());
    let decided = nodes::of_run(conn, run.run_key).await?.into_iter().filter(|row| !row.skips.is_empty());
    let by_name = |row: nodes::NodeRow| {
        let skips = row.skips.iter().filter_map(|node| name(*node)).collect();
        Some(((name(row.node)?, row.lane), skips))
    };
    Ok(decided.filter_map(by_name).collect())
}

/// What has come after a branch since it chose: it did not choose that. Airflow's `NotPreviouslySkippedDep`.
fn newly_after<'g>(
    before: &'g Graph,
    after: &'g Graph,
    branch: &TaskId,
    node: Node,
) -> impl Iterator<Item = Node> + 'g {
    let was_after = before.node(branch).map(|branch| before.downstream(branch)).unwrap_or_default();
    after.downstream(node).iter().copied().filter(move |next| {
        let before = after.task(*next).and_then(|task| before.node(&task.task_id));
        before.is_none_or(|before| !was_after.contains(&before))
    })
}

fn places(before: &Graph, after: &Graph, kept: &[Node]) -> Places {
    let mut places = Places { length: after.tasks().len() as i32, ..Places::default() };
    for (node, task) in kept.iter().filter_map(|node| Some((*node, after.task(*node)?))) {
        let was_mapped = before.node(&task.task_id).is_some_and(|node| before.mapped(node).is_some());
        let is_mapped = after.mapped(node).is_some();
        places.nodes.push(node.0);
        places.task_ids.push(task.task_id.as_str().to_owned());
        places.mapped.push(is_mapped);
        places.in_lanes.push(after.mapped_group(node).is_some());
        places.anew.push(was_mapped != is_mapped);
        places.retries.push(i32::try_from(task.retry.retries).unwrap_or(i32::MAX));
        places.priorities.push(after.priority(node));
        places.queues.push(task.queue.clone());
        places.pools.push(task.pool.clone());
        places.pool_slots.push(task.pool_slots);
    }
    places
}
