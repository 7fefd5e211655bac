//! Deciding a run in which mapped tasks may be: as often as it takes until all of them have their instances.

use sqlx::PgConnection;

use super::{
    advance::{Lengths, Steps, advance},
    gate::Freed,
};
use crate::{
    dag::{Graph, Mapped, Over},
    ids::{Node, RunKey},
    state::TaskState,
    store::{
        expansion::{self, Resize},
        nodes,
        overrides::{self, Chosen, Verdict},
        xcom,
    },
};

/// A run whose mapped tasks have their instances.
pub(super) struct Expanded {
    /// What is to be written.
    pub(super) steps: Steps,
    /// If instances were made or removed, with the run counted anew: what those that were under way give back.
    pub(super) resized: Option<Freed>,
}

/// Decides a run, and makes the instances of mapped tasks first. Hold its lock.
///
/// # Errors
/// The database is down.
pub(super) async fn expand(conn: &mut PgConnection, graph: &Graph, run: RunKey) -> anyhow::Result<Expanded> {
    let mut lengths = Lengths::new();
    let mut resized = None;
    loop {
        let steps = advance(graph, &nodes::of_run(conn, run).await?, &lengths);
        if steps.unmeasured.is_empty() && steps.resize.is_empty() {
            return Ok(Expanded { steps, resized });
        }
        for mapped in &steps.unmeasured {
            lengths.insert(*mapped, length(conn, graph, run, *mapped).await?);
        }
        for (mapped, length) in &steps.resize {
            let freed = resize(conn, graph, run, *mapped, *length).await?;
            resized.get_or_insert_with(Freed::default).merge(freed);
        }
        if !steps.resize.is_empty() {
            nodes::recount(conn, run, graph.edges()).await?;
        }
    }
}

async fn length(conn: &mut PgConnection, graph: &Graph, run: RunKey, mapped: Mapped) -> anyhow::Result<Option<usize>> {
    match graph.over(mapped) {
        Some(Over::Values(values)) => Ok(Some(values.len())),
        Some(Over::Result(source)) => {
            let Some(source) = graph.task(*source) else { return Ok(None) };
            let length = expansion::length(conn, run, &source.task_id).await?;
            Ok(length.map(|length| usize::try_from(length).unwrap_or(0)))
        }
        None => Ok(None),
    }
}

async fn resize(
    conn: &mut PgConnection,
    graph: &Graph,
    run: RunKey,
    mapped: Mapped,
    length: usize,
) -> sqlx::Result<Freed> {
    let existing = overrides::lock_of_run(conn, run).await?;
    let is_there =
        |node: &Node| existing.iter().any(|instance| instance.node == *node && instance.state != TaskState::Removed);
    let nodes: Vec<_> = graph.members(mapped).into_iter().filter(is_there).collect();
    let freed = remove_beyond(conn, graph, existing, &nodes, length).await?;
    let retries = |node| graph.task(node).map_or(0, |task| i32::try_from(task.retry.retries).unwrap_or(i32::MAX));
    let retries: Vec<_> = nodes.iter().map(|node| retries(*node)).collect();
    let in_lanes = matches!(mapped, Mapped::Group(_));
    expansion::resize(conn, run, &Resize { nodes: &nodes, retries: &retries, length, in_lanes }).await?;
    Ok(freed)
}

/// Removes the instances for which there is no item any more; what runs is stopped.
async fn remove_beyond(
    conn: &mut PgConnection,
    graph: &Graph,
    mut beyond: Vec<Chosen>,
    nodes: &[Node],
    length: usize,
) -> sqlx::Result<Freed> {
    let has_item = |instance: &Chosen| usize::try_from(instance.map_index).map_or(true, |index| index < length);
    beyond.retain(|instance| {
        nodes.contains(&instance.node) && !has_item(instance) && instance.state != TaskState::Removed
    });
    if beyond.is_empty() {
        return Ok(Freed::default());
    }
    let verdict = |instance: &Chosen| Verdict { instance: instance.instance, state: TaskState::Removed };
    let verdicts: Vec<_> = beyond.iter().map(verdict).collect();
    overrides::force(conn, &verdicts, "what it was mapped over has become shorter").await?;
    let instances: Vec<_> = beyond.iter().map(|instance| instance.instance).collect();
    xcom::delete(conn, &instances).await?;
    Ok(Freed::by(graph, &beyond))
}
