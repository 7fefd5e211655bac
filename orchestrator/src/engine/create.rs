//! Making a run: its row, its nodes and its task instances, all or nothing, and once.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::graphs::Graphs;
use crate::{
    dag::Graph,
    ids::{DagId, Node, RunId, RunKey, VersionId},
    notify::Deadline,
    state::RunType,
    store::{
        nodes::{self, NewNodes},
        notifications,
        runs::{self, NewRun},
    },
};

/// What makes a run.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// The DAG.
    pub dag_id: DagId,
    /// The id of the run.
    pub run_id: RunId,
    /// Why.
    pub run_type: RunType,
    /// The date that it stands for.
    pub logical_date: Option<DateTime<Utc>>,
    /// The data that it is about, from and to; none: the instant that it stands for.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Not before this instant.
    pub run_after: DateTime<Utc>,
    /// For its tasks to read.
    pub conf: Value,
    /// A remark.
    pub note: Option<String>,
    /// Who, in Airflow's words.
    pub triggered_by: &'static str,
    /// The user who did, if somebody had signed in.
    pub triggering_user: Option<String>,
}

/// Makes the run under `version`, queued; none if the DAG has one of that id or logical date already.
///
/// # Errors
/// The database is down.
pub async fn create_run(
    conn: &mut PgConnection,
    graphs: &Graphs,
    version: VersionId,
    trigger: &Trigger,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<RunKey>> {
    let graph = graphs.get(conn, version).await?;
    let new = NewRun {
        dag_id: &trigger.dag_id,
        run_id: &trigger.run_id,
        version,
        run_type: trigger.run_type,
        logical_date: trigger.logical_date,
        data_interval: trigger.data_interval.or(trigger.logical_date.map(|date| (date, date))),
        run_after: trigger.run_after,
        conf: &trigger.conf,
        note: trigger.note.as_deref(),
        triggered_by: trigger.triggered_by,
        triggering_user: trigger.triggering_user.as_deref(),
        now,
        tasks: graph.tasks().len() as i32,
    };
    let Some(run) = runs::insert_if_new(conn, &new).await? else { return Ok(None) };
    nodes::insert(conn, run, &nodes_of(&graph, graph.nodes())).await?;
    let due = |deadline: &Deadline| deadline.due_at(now, trigger.logical_date);
    let deadlines = (0..).zip(graph.deadlines()).filter_map(|(ordinal, deadline)| Some((ordinal, due(deadline)?)));
    let deadlines: Vec<_> = deadlines.collect();
    if !deadlines.is_empty() {
        notifications::set_deadlines(conn, run, &deadlines).await?;
    }
    Ok(Some(run))
}

/// The rows of new nodes of a run.
pub(super) fn nodes_of(graph: &Graph, nodes: impl IntoIterator<Item = Node>) -> NewNodes {
    let mut rows = NewNodes::default();
    for (node, task) in nodes.into_iter().filter_map(|node| Some((node, graph.task(node)?))) {
        rows.nodes.push(node.0);
        rows.upstream.push(graph.upstream(node).len() as i32);
        rows.task_ids.push(task.task_id.as_str().to_owned());
        rows.max_tries.push(i32::try_from(task.retry.retries).unwrap_or(i32::MAX));
        rows.priorities.push(graph.priority(node));
        rows.queues.push(task.queue.clone());
        rows.pools.push(task.pool.clone());
        rows.pool_slots.push(task.pool_slots);
    }
    rows
}
