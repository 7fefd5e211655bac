//! Duty: give up tasks that a deploy has taken out of a DAG while runs of the older version were under way. As long as a
//! worker of another build lives, it may be the one that has them; after that nobody ever will, and they are `removed`.
//!
//! A DAG that is gone as a whole may be another program's, or come back: only when no scheduler or worker of another build
//! has been heard for a while, what its runs still wait for fails, and can be cleared when it is there again. Runs that
//! have not started hold nothing, and wait.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::{Connection, PgConnection};

use crate::{
    dag::{Definition, Graph, Registry, TaskSpec},
    engine::{Freed, Graphs, move_on},
    ids::{Node, RunKey},
    state::{RunState, TaskState},
    store::{
        self, assets, nodes,
        overrides::{self, Chosen, Verdict},
        processes, run_locks, runs,
    },
};

/// A deploy is a matter of minutes.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// How long after the last sign of another program its DAGs are not given up: it may be on its way, or only restarting.
const OTHERS_MAY_COME_BACK: TimeDelta = TimeDelta::minutes(5);

/// Runs of a version in one pass; the rest is the next pass's.
const BATCH: i64 = 100;

/// Says how many task instances were removed.
///
/// # Errors
/// The database is down.
pub async fn remove_gone(conn: &mut PgConnection, registry: &Registry, graphs: &Graphs) -> anyhow::Result<u64> {
    if !processes::all_workers_are_of(conn, &registry.fingerprint()).await? {
        return Ok(0);
    }
    let others_since = store::now(conn).await? - OTHERS_MAY_COME_BACK;
    let is_alone = processes::all_have_been_of(conn, &registry.fingerprint(), others_since).await?;
    if is_alone {
        assets::forget_gone(conn, &registry.dag_ids()).await?;
    }
    let mut removed = 0;
    for older in runs::older_versions(conn, &registry.dag_ids()).await? {
        let definition = registry.get(&older.dag_id);
        if definition.is_none() && !is_alone {
            continue;
        }
        // One of a newer binary is not ours to judge.
        if !graphs.can_read(conn, older.version).await? {
            continue;
        }
        let graph = graphs.get(conn, older.version).await?;
        let gone = gone(&graph, definition);
        let end = if definition.is_some() { TaskState::Removed } else { TaskState::Failed };
        for run in runs::waiting_at(conn, &older, &gone, BATCH).await? {
            match end_without_worker(conn, graphs, &graph, run, &gone, end).await {
                Ok(more) => removed += more,
                Err(error) => tracing::error!(%run, error = format!("{error:#}"), "cannot remove what is gone"),
            }
        }
    }
    Ok(removed)
}

/// The tasks that the DAG has not any more, if there still is one.
fn gone(graph: &Graph, definition: Option<&Definition>) -> Vec<Node> {
    let tasks = graph.nodes().zip(graph.tasks());
    let is_gone = |task: &TaskSpec| definition.is_none_or(|definition| definition.body(&task.task_id).is_none());
    tasks.filter(|(_, task)| is_gone(task)).map(|(node, _)| node).collect()
}

async fn end_without_worker(
    conn: &mut PgConnection,
    graphs: &Graphs,
    graph: &Graph,
    run: RunKey,
    gone: &[Node],
    end: TaskState,
) -> anyhow::Result<u64> {
    let mut tx = conn.begin().await?;
    let Some(locked) = run_locks::lock_soon(&mut tx, run).await?.filter(|run| run.state == RunState::Running) else {
        return Ok(0);
    };
    let mut instances = overrides::lock_of_run(&mut tx, run).await?;
    // What still counts as running is rescued first: its worker is gone.
    let runs_on = |state| matches!(state, TaskState::Running | TaskState::Restarting);
    instances
        .retain(|instance| gone.contains(&instance.node) && !instance.state.is_finished() && !runs_on(instance.state));
    if instances.is_empty() {
        return Ok(0);
    }
    let verdict = |instance: &Chosen| Verdict { instance: instance.instance, state: end };
    let verdicts: Vec<_> = instances.iter().map(verdict).collect();
    overrides::force(&mut tx, &verdicts, "no worker has this task any more: a deploy took it out").await?;
    nodes::recount(&mut tx, run, graph.edges()).await?;
    move_on(&mut tx, graphs, &[locked], Freed::by(graph, &instances)).await?;
    tx.commit().await?;
    tracing::warn!(%run, dag = %graph.dag_id(), tasks = instances.len(), %end, "no worker has these tasks any more");
    Ok(instances.len() as u64)
}
