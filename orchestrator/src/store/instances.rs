//! `task_instance`: who ends without running, who is claimed, and who holds what. Every write of a state names the state and
//! the attempt that it expects; the end of attempts is in [`outcomes`](super::outcomes).

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use super::nodes::EdgeColumns;
use crate::{
    dag::Edge,
    engine::{Claimant, Decided},
    ids::{AttemptId, DagId, InstanceKey, Node, ProcessId, RunId, RunKey, TaskId, VersionId},
    state::TaskState,
};

/// Ends task instances that never ran, because of how their upstream ended, and counts them. Hold the run's lock.
///
/// # Errors
/// The database is down.
pub async fn end_without_running(
    conn: &mut PgConnection,
    run: RunKey,
    decided: &[Decided],
    edges: &[Edge],
) -> sqlx::Result<i32> {
    let nodes: Vec<_> = decided.iter().map(|decided| decided.node.0).collect();
    let lanes: Vec<_> = decided.iter().map(|decided| decided.lane).collect();
    let states: Vec<_> = decided.iter().map(|decided| decided.state).collect();
    let edges = EdgeColumns::of(edges);
    sqlx::query_scalar!(
        r#"with ended as (
               update task_instance t set state = d.state, end_date = statement_timestamp()
               from unnest($2::int[], $3::int[], $4::task_state[]) as d(node, lane, state)
               where t.run_key = $1 and t.node = d.node and t.state = 'none' and (d.lane = -1 or t.map_index = d.lane)
               returning t.node, t.map_index, t.state
           ), counted as (
               update run_node n
               set skipped = n.skipped + d.skipped, upstream_failed = n.upstream_failed + d.upstream_failed
               from (
                   select m.node, m.lane, count(*) filter (where e.state = 'skipped') as skipped,
                          count(*) filter (where e.state = 'upstream_failed') as upstream_failed
                   from ended e
                   join unnest($5::int[], $6::int[], $7::bool[]) as x(upstream_node, node, within_lane)
                        on x.upstream_node = e.node
                   join run_node m on m.run_key = $1 and m.node = x.node and (not x.within_lane or m.lane = e.map_index)
                   group by m.node, m.lane
               ) d
               where n.run_key = $1 and n.node = d.node and n.lane = d.lane
           )
           update dag_run set unfinished = unfinished - (select count(*) from ended)
           where run_key = $1 returning unfinished"#,
        run.0,
        &nodes,
        &lanes,
        &states as &[TaskState],
        &edges.from,
        &edges.to,
        &edges.within_lane
    )
    .fetch_one(conn)
    .await
}

/// A task instance that this worker is to run now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The task instance.
    pub instance: InstanceKey,
    /// The token that its outcome must carry.
    pub attempt: AttemptId,
    /// Its run.
    pub run_key: RunKey,
    /// The id of its run.
    pub run_id: RunId,
    /// The day whose partitions hold the run's history.
    pub run_day: NaiveDate,
    /// Its DAG.
    pub dag_id: DagId,
    /// The version that the run is under.
    pub version: VersionId,
    /// Its node in the graph of that version.
    pub node: Node,
    /// Its task.
    pub task_id: TaskId,
    /// Its index in a mapped task.
    pub map_index: i32,
    /// The number of the try.
    pub try_number: i32,
    /// The last try that may be retried.
    pub max_tries: i32,
    /// The date that the run stands for.
    pub logical_date: Option<DateTime<Utc>>,
    /// What the run was triggered with.
    pub conf: Value,
    /// For how many seconds the try has been looking in vain, if it is a sensor that has looked before.
    pub poked_for_secs: Option<f64>,
}

/// Takes up to `claimant.free` queued task instances of DAGs and queues that the worker knows, highest priority first,
/// and gives each a fresh attempt. A worker that is not alive (any more) gets nothing.
///
/// # Errors
/// The database is down.
pub async fn claim(conn: &mut PgConnection, claimant: Claimant<'_>) -> sqlx::Result<Vec<Claim>> {
    let strange = claimant.abilities.strange();
    let (strange_dags, strange_tasks) = strange.tasks();
    // The CTEs are optimisation fences: a subquery could be flattened into a join that updates more rows than LIMIT.
    sqlx::query_as!(
        Claim,
        r#"with head as materialized (
               select h.* from unnest($4::text[]) as q(queue) cross join lateral (
                   select instance_key, priority, ticket from task_instance
                   where state = 'queued' and queue = q.queue and dag_id = any($2)
                     and not exists (select from unnest($5::text[], $6::text[]) as s(dag_id, task_id)
                                     where s.dag_id = task_instance.dag_id and s.task_id = task_instance.task_id)
                     and (cardinality($7::bigint[]) = 0
                          or (select r.version_id from dag_run r where r.run_key = task_instance.run_key) <> all($7))
                   order by priority desc, ticket
                   limit $3
                   for update skip locked
               ) h
               where exists (select from process where process_id = $1 and state = 'alive')
           ), picked as materialized (
               select instance_key from head order by priority desc, ticket limit $3
           )
           update task_instance t
           set state = 'running', attempt = gen_random_uuid(), worker_id = $1, start_date = statement_timestamp(), end_date = null
           from picked p, dag_run r
           where t.instance_key = p.instance_key and r.run_key = t.run_key
           returning t.instance_key as "instance: InstanceKey", t.attempt as "attempt!: AttemptId",
                     t.run_key as "run_key: RunKey", r.run_id as "run_id: RunId", r.run_day,
                     t.dag_id as "dag_id: DagId", r.version_id as "version: VersionId", t.node as "node: Node",
                     t.task_id as "task_id: TaskId", t.map_index, t.try_number, t.max_tries, r.logical_date, r.conf,
                     extract(epoch from statement_timestamp() - t.first_poke_at)::float8 as poked_for_secs"#,
        claimant.worker.0,
        claimant.abilities.dags(),
        claimant.free,
        claimant.queues,
        &strange_dags,
        &strange_tasks,
        &strange.versions()
    )
    .fetch_all(conn)
    .await
}

/// A claim that Postgres believes a worker holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Held {
    /// The task instance.
    pub instance: InstanceKey,
    /// The token of the claim.
    pub attempt: AttemptId,
    /// Running or restarting.
    pub state: TaskState,
}

/// Everything that Postgres believes this worker runs.
///
/// # Errors
/// The database is down.
pub async fn held_by(conn: &mut PgConnection, worker: ProcessId) -> sqlx::Result<Vec<Held>> {
    sqlx::query_as!(
        Held,
        r#"select instance_key as "instance: InstanceKey", attempt as "attempt!: AttemptId", state as "state: TaskState"
           from task_instance where worker_id = $1 and state in ('running', 'restarting')"#,
        worker.0
    )
    .fetch_all(conn)
    .await
}

/// Lets go of a claim that was cleared before it was started: the rescue of what belongs to nobody takes it to its next
/// try.
///
/// # Errors
/// The database is down.
pub async fn disown_if_restarting(
    conn: &mut PgConnection,
    claim: InstanceKey,
    attempt: AttemptId,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update task_instance set worker_id = $3 where instance_key = $1 and attempt = $2 and state = 'restarting'",
        claim.0,
        attempt.0,
        uuid::Uuid::nil()
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a claim back unstarted: the task is queued again, and the try counts as the same one.
///
/// # Errors
/// The database is down.
pub async fn hand_back_if_current(
    conn: &mut PgConnection,
    claim: InstanceKey,
    attempt: AttemptId,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update task_instance set state = 'queued', attempt = null, worker_id = null, start_date = null
         where instance_key = $1 and attempt = $2 and state = 'running'",
        claim.0,
        attempt.0
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
