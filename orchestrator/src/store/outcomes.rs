//! `task_instance`, `task_try`, `run_node` and `dag_run`: what the end of attempts writes, in one statement. Every write of
//! a state names the state and the attempt that it expects.

use chrono::NaiveDate;
use serde::Deserialize;
use sqlx::{PgConnection, types::Json};

use super::{instances::Claim, nodes::EdgeColumns};
use crate::{
    dag::Edge,
    engine::{Claimant, Gate, Hop, Outcome},
    ids::{InstanceKey, Node, RunKey},
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
    /// What has begun with the end of those before it.
    pub begun: Vec<Claim>,
}

/// What may begin with the outcomes, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    /// The tasks.
    pub hops: &'a [Hop],
    /// Who has slots for all of them.
    pub claimant: Claimant<'a>,
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
    /// Where it was: `running`, or `restarting` if it was cleared meanwhile.
    pub before: TaskState,
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
/// instance, `gates` which gates matter to what follows. An outcome whose attempt is not the one that the row holds changes
/// nothing. Begins what is `onward`, where everything before it has succeeded, if the claimant is alive and nobody stands in
/// line before it: at its run, at one of the gates, or for a worker of its queues. Hold the runs' locks.
///
/// # Errors
/// The database is down, or a value cannot be written.
#[expect(clippy::too_many_lines, reason = "one statement, in the order of its story")]
pub async fn record_if_current(
    conn: &mut PgConnection,
    outcomes: &[&Outcome],
    edges: &[(InstanceKey, Edge)],
    gates: &[Gate],
    onward: Option<Onward<'_>>,
) -> sqlx::Result<Recorded> {
    let hop = HopColumns::of(onward.as_ref());
    let column = OutcomeColumns::of(outcomes);
    let edge_from: Vec<_> = edges.iter().map(|(from, _)| from.0).collect();
    let edges = EdgeColumns::of(edges.iter().map(|(_, edge)| edge));
    let row = sqlx::query!(
        r#"with outcome as (
               select o.*, (select t.state from task_instance t where t.instance_key = o.instance_key) as before
               from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::task_state[], $5::float8[],
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
                         o.attempt, o.worker_id, o.cause, o.run_day, o.before
           ), tried as (
               insert into task_try (run_day, instance_key, try_number, attempt, state, start_date, end_date,
                                     worker_id, cause)
               select run_day, instance_key, try_number, attempt, state, start_date, end_date, worker_id, cause
               from ended where state not in ('up_for_reschedule', 'deferred')
           ), counted as (
               update run_node n
               set success = n.success + d.success, skipped = n.skipped + d.skipped, failed = n.failed + d.failed
               from (
                   select m.ctid,
                          count(*) filter (where e.state = 'success') as success,
                          count(*) filter (where e.state = 'skipped') as skipped,
                          count(*) filter (where e.state = 'failed') as failed
                   from ended e
                   join unnest($8::bigint[], $9::int[], $11::bool[]) as x(instance_key, node, within_lane)
                        using (instance_key)
                   -- One by one (`offset 0`): a plan of a table that was empty once would read all of it.
                   cross join lateral (select ctid from run_node
                                       where run_key = e.run_key and node = x.node
                                         and (not x.within_lane or lane = e.map_index) offset 0) m
                   where e.finished
                   group by m.ctid
               ) d
               -- The row stays in its place while its run is locked.
               where n.ctid = d.ctid
               returning n.*
           ), closed as (
               update dag_run r set unfinished = r.unfinished - d.finished
               from (select run_key, count(*) filter (where finished) as finished from ended group by run_key) d
               where r.run_key = d.run_key
               returning r.run_key, r.state, r.unfinished, r.active, r.in_line, r.run_id, r.run_day, r.version_id,
                         r.logical_date, r.conf,
                         (select d.is_paused from dag d where d.dag_id = r.dag_id) as is_paused
           ), standing as materialized (
               select l.waits_for from unnest($10::text[]) as g(gate) cross join lateral (
                   select waits_for from task_instance
                   where state = 'scheduled' and waits_for <> 'run' and waits_for = gate limit 1) l
           ), overdrawn as materialized (
               select gate from slots where gate = any($10) and total >= 0 and used > total
           ), onward as materialized (
               select n.instance_key, o.run_id, o.run_day, o.version_id, o.logical_date, o.conf
               from unnest($13::bigint[], $14::int[], $15::int[], $16::int[])
                        as h(instance_key, node, upstream, max_active_tasks)
               join ended e using (instance_key)
               join closed o on o.run_key = e.run_key
               join counted c on c.run_key = e.run_key and c.node = h.node and c.lane = -1
               -- One by one: a plan of a young database would read all of the table.
               cross join lateral (select t.instance_key from task_instance t
                                   where t.run_key = e.run_key and t.node = h.node and t.map_index = -1 limit 1) n
               where e.state = 'success' and c.upstream = h.upstream and c.success = h.upstream
                 and o.state = 'running' and not o.is_paused and o.in_line = 0 and o.active <= h.max_active_tasks
                 and not exists (select from standing) and not exists (select from overdrawn)
                 and exists (select from process where process_id = $17 and state = 'alive')
                 and not exists (select from unnest($18::text[]) as q(queue) cross join lateral (
                                     select 1 from task_instance where state = 'queued' and queue = q.queue limit 1) w)
           ), begun as (
               update task_instance t
               set state = 'running', attempt = gen_random_uuid(), worker_id = $17, try_number = t.try_number + 1,
                   queued_at = statement_timestamp(), start_date = statement_timestamp(), end_date = null,
                   ticket = (extract(epoch from statement_timestamp()) * 1e6)::bigint
               from onward o where t.instance_key = o.instance_key and t.state = 'none'
               returning t.instance_key as instance, t.attempt, t.run_key, o.run_id, o.run_day, t.dag_id,
                         o.version_id as version, t.node, t.task_id, t.map_index, t.try_number, t.max_tries,
                         o.logical_date, o.conf, 
                         extract(epoch from statement_timestamp() - t.first_poke_at)::float8 as poked_for_secs
           )
           select (select coalesce(jsonb_agg(jsonb_build_object(
                      'instance_key', instance_key, 'run_key', run_key, 'node', node, 'state', state,
                      'before', before, 'keeps_slots', keeps_slots)), '[]')
                   from ended) as "ended!: Json<Vec<Ended>>",
                  (select coalesce(jsonb_agg(to_jsonb(c)), '[]') from counted c
                   where exists (select from task_instance t
                                 where t.run_key = c.run_key and t.node = c.node and t.state = 'none'
                                 and (c.lane = -1 or t.map_index = c.lane)))
                      as "counted!: Json<Vec<Counted>>",
                  (select coalesce(jsonb_agg(jsonb_build_object(
                      'run_key', run_key, 'state', state, 'unfinished', unfinished, 'active', active, 'in_line', in_line,
                      'is_paused', is_paused)), '[]')
                   from closed) as "runs!: Json<Vec<RunCounts>>",
                  array(select waits_for from standing) as "lines!: Vec<Gate>",
                  array(select gate from overdrawn) as "overdrawn!: Vec<Gate>",
                  (select coalesce(jsonb_agg(to_jsonb(b)), '[]') from begun b) as "begun!: Json<Vec<Claim>>""#,
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
        &column.awaits as &[Option<String>],
        &hop.from,
        &hop.to,
        &hop.upstream,
        &hop.max_active_tasks,
        onward.map(|onward| onward.claimant.worker.0),
        onward.map_or(&[][..], |onward| onward.claimant.queues)
    )
    .fetch_one(conn)
    .await?;
    Ok(Recorded {
        ended: row.ended.0,
        counted: row.counted.0,
        runs: row.runs.0,
        lines: row.lines,
        overdrawn: row.overdrawn,
        begun: row.begun.0,
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

#[derive(Default)]
struct HopColumns {
    from: Vec<i64>,
    to: Vec<i32>,
    upstream: Vec<i32>,
    max_active_tasks: Vec<i32>,
}

impl HopColumns {
    fn of(onward: Option<&Onward<'_>>) -> Self {
        let mut columns = Self::default();
        for hop in onward.map_or(&[][..], |onward| onward.hops) {
            columns.from.push(hop.from.0);
            columns.to.push(hop.to.0);
            columns.upstream.push(hop.upstream);
            columns.max_active_tasks.push(hop.max_active_tasks);
        }
        columns
    }
}
