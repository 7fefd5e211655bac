//! Deciding a run in which mapped tasks may be: as often as it takes until all of them have their instances.

use sqlx::PgConnection;

use super::advance::{Lengths, Steps, advance};
use crate::{
    dag::{Graph, Mapped, Over},
    ids::RunKey,
    store::{
        expansion::{self, Resize},
        nodes,
    },
};

/// What is to be written about a run, and whether instances were made or removed before, with the run counted anew. Hold
/// its lock.
///
/// # Errors
/// The database is down.
pub(super) async fn expand(conn: &mut PgConnection, graph: &Graph, run: RunKey) -> anyhow::Result<(Steps, bool)> {
    let mut lengths = Lengths::new();
    let mut is_resized = false;
    loop {
        let steps = advance(graph, &nodes::of_run(conn, run).await?, &lengths);
        if steps.unmeasured.is_empty() && steps.resize.is_empty() {
            return Ok((steps, is_resized));
        }
        for mapped in &steps.unmeasured {
            lengths.insert(*mapped, length(conn, graph, run, *mapped).await?);
        }
        for (mapped, length) in &steps.resize {
            resize(conn, graph, run, *mapped, *length).await?;
            is_resized = true;
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
) -> sqlx::Result<()> {
    let nodes = graph.members(mapped);
    let retries = |node| graph.task(node).map_or(0, |task| i32::try_from(task.retry.retries).unwrap_or(i32::MAX));
    let retries: Vec<_> = nodes.iter().map(|node| retries(*node)).collect();
    let in_lanes = matches!(mapped, Mapped::Group(_));
    expansion::resize(conn, run, &Resize { nodes: &nodes, retries: &retries, length, in_lanes }).await
}
