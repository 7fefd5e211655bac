//! `task_instance` and `task_try`: the hot path. Every write of a state names the state and the attempt that it
//! expects.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgConnection, types::Json};

use super::nodes::EdgeColumns;
use crate::{
    dag::Edge,
    engine::{Claimant, Decided, Gate, Outcome},
    ids::{AttemptId, DagId, InstanceKey, Node, ProcessId, RunId, RunKey, TaskId, VersionId},
    readiness::Counts,
    state::{RunState, TaskState},
};

/// What recording a batch of outcomes changed.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The task instances whose attempt ended; an outcome that is not among them was stale.
    pub ended: Vec<Ended>,
    /// The nodes after them that still wait, with their counts as they are now.
    pub counted: Vec<Counted>,
    /// Their runs.
    pub runs: Vec<RunCounts>,
    /// The gates, of those that were asked about, at which somebody stands in line.
    pub lines: Vec<Gate>,
    /// Those through which more has passed than they have slots.
    pub overdrawn: Vec<Gate>,
}

/// A task instance whose attempt ended.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Ended {
    /// The task instance.
    pub instance_key: InstanceKey,
    /// Its run.
    pub run_key: RunKey,
    /// Its node.
    pub node: Node,
    /// Where it is now.
    pub state: TaskState,
    /// Whether it keeps the slots of its pool: it was deferred, and they count there.
    pub keeps_slots: bool,
}

/// How the task instances of a run stand.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct RunCounts {
    /// The run.
    pub run_key: RunKey,
    /// Its state.
    pub state: RunState,
    /// Those that have not ended.
    pub unfinished: i32,
    /// Those that have passed the gate of the run and have not ended; with those that ended in this transaction.
    pub active: i32,
    /// Those that stand in line at the gate of the run.
    pub in_line: i32,
    /// Whether its DAG is paused.
    pub is_paused: bool,
}

/// A node that waits, after a task that ended.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Counted {
    /// The run.
    pub run_key: RunKey,
    /// The node.
    pub node: Node,
    /// The map index that the decision is about; -1: all instances of the node.
    pub lane: i32,
    upstream: i32,
    success: i32,
    skipped: i32,
    failed: i32,
    upstream_failed: i32,
}

impl Counted {
    /// Its counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            upstream: self.upstream,
            success: self.success,
            skipped: self.skipped,
            failed: self.failed,
            upstream_failed: self.upstream_failed,
        }
    }
}

/// Ends the attempts of a batch, writes their tries, adds them to the counts of the nodes after them and
/// takes them from their runs' unfinished: one statement, one round trip. `edges` says which nodes come after which
/// instance, `gates` which gates matter to what follows. An outcome whose attempt is not the one that the row holds changes nothing. Hold the runs' locks.
///
/// # Errors
/// The database is down, or a value cannot be written.
#[expect(clippy::too_many_lines, reason = "one statement, in the order of its story")]
pub async fn record_if_current(
    conn: &mut PgConnection,
    outcomes: &[&Outcome],
    edges: &[(InstanceKey, Edge)],
    gates: &[Gate],
) -> sqlx::Result<Recorded> {
    let column = OutcomeColumns::of(outcomes);
    let edge_from: Vec<_> = edges.iter().map(|(from, _)| from.0).collect();
    let edges = EdgeColumns::of(edges.iter().map(|(_, edge)| edge));
    let row = sqlx::query!(
        r#"with outcome as (
               select * from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::task_state[], $5::float8[],
                                    $6::text[], $7::date[], $12::text[])
                   as o(instance_key, attempt, worker_id, state, delay_secs, cause, run_day, awaits)
           ), ended as (
               update task_instance t
               set state = case t.state when 'restarting' then 'up_for_retry' else o.state end,
                   awaits = case when t.state = 'running' then o.awaits end,
                   waits_for = case when t.state = 'running' and o.state = 'deferred'
                                    then (select 'pool:' || p.name from pool p
                                          where p.name = t.pool and p.include_deferred) end,
                   due_at = case when t.state = 'restarting' then statement_timestamp()
                                 -- Posted before it began to wait.
                                 when o.awaits is not null and exists (select from signal where key = o.awaits)
                                     then statement_timestamp()
                                 -- Many sensors share a second, so that they share a pass of the scheduler.
                                 when o.state = 'up_for_reschedule' and o.delay_secs >= 10
                                     then date_trunc('second', statement_timestamp() + make_interval(secs => o.delay_secs + 1))
                                 else statement_timestamp() + make_interval(secs => o.delay_secs) end,
                   first_poke_at = case when t.state = 'running' and o.state in ('up_for_reschedule', 'deferred')
                                        then coalesce(t.first_poke_at, t.start_date) end,
                   end_date = statement_timestamp(), attempt = null, worker_id = null
               from outcome o
               -- As text: a plan of a young database would read all of the partial index over these states.
               where t.instance_key = o.instance_key and t.attempt = o.attempt
                 and t.state::text in ('running', 'restarting')
               returning t.instance_key, t.run_key, t.node, t.map_index, t.try_number, t.start_date, t.end_date, t.state,
                         t.state in ('success', 'failed', 'skipped') as finished, t.waits_for is not null as keeps_slots,
                         o.attempt, o.worker_id, o.cause,
                         o.run_day
           ), tried as (
               insert into task_try (run_day, instance_key, try_number, attempt, state, start_date, end_date,
                                     worker_id, cause)
               select run_day, instance_key, try_number, attempt, state, start_date, end_date, worker_id, cause
               from ended where state not in ('up_for_reschedule', 'deferred')
           ), counted as (
               update run_node n
               set success = n.success + d.success, skipped = n.skipped + d.skipped, failed = n.failed + d.failed
               from (
                   select e.run_key, x.node, m.lane,
                          count(*) filter (where e.state = 'success') as success,
                          count(*) filter (where e.state = 'skipped') as skipped,
                          count(*) filter (where e.state = 'failed') as failed
                   from ended e
                   join unnest($8::bigint[], $9::int[], $11::bool[]) as x(instance_key, node, within_lane)
                        using (instance_key)
                   join run_node m on m.run_key = e.run_key and m.node = x.node
                                   and (not x.within_lane or m.lane = e.map_index)
                   where e.finished
                   group by e.run_key, x.node, m.lane
               ) d
               where n.run_key = d.run_key and n.node = d.node and n.lane = d.lane
               returning n.*
           ), closed as (
               update dag_run r set unfinished = r.unfinished - d.finished
               from (select run_key, count(*) filter (where finished) as finished from ended group by run_key) d
               where r.run_key = d.run_key
               returning r.run_key, r.state, r.unfinished, r.active, r.in_line,
                         (select d.is_paused from dag d where d.dag_id = r.dag_id) as is_paused
           )
           select (select coalesce(jsonb_agg(jsonb_build_object(
                      'instance_key', instance_key, 'run_key', run_key, 'node', node, 'state', state,
                      'keeps_slots', keeps_slots)), '[]')
                   from ended) as "ended!: Json<Vec<Ended>>",
                  (select coalesce(jsonb_agg(to_jsonb(c)), '[]') from counted c
                   where exists (select from task_instance t
                                 where t.run_key = c.run_key and t.node = c.node and t.state = 'none'
                                 and (c.lane = -1 or t.map_index = c.lane)))
                      as "counted!: Json<Vec<Counted>>",
                  (select coalesce(jsonb_agg(to_jsonb(closed)), '[]') from closed) as "runs!: Json<Vec<RunCounts>>",
                  array(select l.waits_for from unnest($10::text[]) as g(gate) cross join lateral (
                            select waits_for from task_instance
                            where state = 'scheduled' and waits_for <> 'run' and waits_for = gate limit 1) l)
                      as "lines!: Vec<Gate>",
                  array(select gate from slots where gate = any($10) and total >= 0 and used > total)
                      as "overdrawn!: Vec<Gate>""#,
        &column.instances,
        &column.attempts,
        &column.workers,
        &column.states as &[TaskState],
        &column.delays_secs as &[Option<f64>],
        &column.causes as &[Option<String>],
        &column.run_days,
        &edge_from,
        &edges.to,
        gates as &[Gate],
        &edges.within_lane,
        &column.awaits as &[Option<String>]
    )
    .fetch_one(conn)
    .await?;
    Ok(Recorded {
        ended: row.ended.0,
        counted: row.counted.0,
        runs: row.runs.0,
        lines: row.lines,
        overdrawn: row.overdrawn,
    })
}

#[derive(Default)]
struct OutcomeColumns {
    instances: Vec<i64>,
    attempts: Vec<uuid::Uuid>,
    workers: Vec<uuid::Uuid>,
    states: Vec<TaskState>,
    delays_secs: Vec<Option<f64>>,
    causes: Vec<Option<String>>,
    run_days: Vec<NaiveDate>,
    awaits: Vec<Option<String>>,
}

impl OutcomeColumns {
    fn of(outcomes: &[&Outcome]) -> Self {
        let mut columns = Self::default();
        for outcome in outcomes {
            columns.instances.push(outcome.instance.0);
            columns.attempts.push(outcome.attempt.0);
            columns.workers.push(outcome.worker.0);
            columns.states.push(outcome.ending.state());
            columns.delays_secs.push(outcome.ending.delay().map(|delay| delay.as_secs_f64()));
            columns.causes.push(outcome.ending.cause().map(ToOwned::to_owned));
            columns.run_days.push(outcome.run_day);
            columns.awaits.push(outcome.ending.signal().map(ToOwned::to_owned));
        }
        columns
    }
}

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
