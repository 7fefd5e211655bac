//! `task_instance` and `dag_run`: who stands in line, and who may go on. The rules are in
//! [`engine`](crate::engine).

use std::collections::BTreeMap;

use sqlx::PgConnection;

use crate::{
    engine::Gate,
    ids::{Node, RunKey},
};

/// A task instance on its way through the gates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Its run.
    pub run_key: RunKey,
    /// Its node.
    pub node: Node,
    /// Its index in a mapped task.
    pub map_index: i32,
}

/// A task instance that stands in line.
#[derive(Clone, Debug)]
pub struct InLine {
    /// The task instance.
    pub place: Place,
    /// Its priority.
    pub priority: i32,
    /// Its pool.
    pub pool: String,
    /// How many slots of the pool it takes.
    pub pool_slots: i32,
}

/// The first that stand in line at a gate and take no more than so many slots of their pool, and locks them; what somebody else holds is left out.
///
/// # Errors
/// The database is down.
pub async fn line(conn: &mut PgConnection, gate: &Gate, pool_slots_max: i32, limit: i64) -> sqlx::Result<Vec<InLine>> {
    let rows = sqlx::query!(
        r#"select run_key as "run_key: RunKey", node as "node: Node", map_index, priority, pool, pool_slots
           from task_instance
           where state = 'scheduled' and waits_for <> 'run' and waits_for = $1 and pool_slots <= $3
           order by priority desc, ticket limit $2
           for no key update skip locked"#,
        gate.as_str(),
        limit,
        pool_slots_max
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| InLine {
            place: Place { run_key: row.run_key, node: row.node, map_index: row.map_index },
            priority: row.priority,
            pool: row.pool,
            pool_slots: row.pool_slots,
        })
        .collect())
}

/// The first that stand in line at the gate of a run. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn line_of_run(conn: &mut PgConnection, run: RunKey, limit: i64) -> sqlx::Result<Vec<InLine>> {
    let rows = sqlx::query!(
        r#"select node as "node: Node", map_index, priority, pool, pool_slots
           from task_instance
           where run_key = $1 and state = 'scheduled' and waits_for = 'run'
           order by priority desc, ticket limit $2"#,
        run.0,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| InLine {
            place: Place { run_key: run, node: row.node, map_index: row.map_index },
            priority: row.priority,
            pool: row.pool,
            pool_slots: row.pool_slots,
        })
        .collect())
}

/// The same, but of some tasks not more than so many: what they leave in line hides nobody.
///
/// # Errors
/// The database is down.
pub async fn line_of_run_within(
    conn: &mut PgConnection,
    run: RunKey,
    limit: i64,
    rooms: &BTreeMap<Node, i32>,
) -> sqlx::Result<Vec<InLine>> {
    let (nodes, rooms): (Vec<_>, Vec<_>) = rooms.iter().map(|(node, room)| (node.0, *room)).unzip();
    let rows = sqlx::query!(
        r#"select node as "node: Node", map_index, t.priority, pool, pool_slots
           from (select *, row_number() over (partition by node order by priority desc, ticket) as place
                 from task_instance where run_key = $1 and state = 'scheduled' and waits_for = 'run') t
           left join unnest($3::int[], $4::int[]) as l(node, room) using (node)
           where l.room is null or t.place <= l.room
           order by priority desc, ticket limit $2"#,
        run.0,
        limit,
        &nodes,
        &rooms
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| InLine {
            place: Place { run_key: run, node: row.node, map_index: row.map_index },
            priority: row.priority,
            pool: row.pool,
            pool_slots: row.pool_slots,
        })
        .collect())
}

/// Takes those of a run that stand in line at later gates back to the line of their run, and says where they stood.
/// Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn step_back(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Vec<(Node, Gate)>> {
    let rows = sqlx::query!(
        r#"with standing as (
               select instance_key, node, waits_for from task_instance
               where run_key = $1 and state = 'scheduled' and waits_for <> 'run'
               order by instance_key for no key update
           ), moved as (
               update task_instance t set waits_for = 'run' from standing s where t.instance_key = s.instance_key
           ), counted as (
               update dag_run r set active = r.active - s.instances, in_line = r.in_line + s.instances
               from (select count(*)::int as instances from standing) s
               where r.run_key = $1 and s.instances > 0
           )
           select node as "node: Node", waits_for as "gate!: Gate" from standing"#,
        run.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.node, row.gate)).collect())
}

/// How many instances of these tasks have passed the gate of their run and have not ended. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn active_of_tasks(
    conn: &mut PgConnection,
    run: RunKey,
    nodes: &[Node],
) -> sqlx::Result<BTreeMap<Node, i32>> {
    let nodes: Vec<_> = nodes.iter().map(|node| node.0).collect();
    let rows = sqlx::query!(
        r#"select node as "node: Node", count(*)::int as "active!" from task_instance
           where run_key = $1 and node = any($2)
             and (state in ('queued', 'running', 'restarting') or (state = 'scheduled' and waits_for <> 'run'))
           group by node"#,
        run.0,
        &nodes
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.node, row.active)).collect())
}

/// Where a task instance is to be next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// The task instance.
    pub place: Place,
    /// The gate at which it stands in line; none: it has passed them all.
    pub waits_for: Option<Gate>,
}

/// What changes in a run that the transaction holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunDelta {
    /// More (or fewer) that have passed its gate and have not ended.
    pub active: i32,
    /// More (or fewer) that stand in line at its gate.
    pub in_line: i32,
}

/// Moves task instances to where they wait next; those that wait for nothing are queued. One that comes from `none`
/// begins a new try and gets a ticket: start-time fair queueing among those of its priority, from the head of its worker
/// queue or of the line at its pool (or now, if there is nobody), never before the run's last one, apart by the number of
/// active runs of its DAG. Says how many are queued now. Hold the runs' locks.
///
/// # Errors
/// The database is down.
#[expect(clippy::too_many_lines, reason = "one statement, in the order of its story")]
pub async fn advance(conn: &mut PgConnection, moves: &[Move], deltas: &[(RunKey, RunDelta)]) -> sqlx::Result<i64> {
    let runs: Vec<_> = moves.iter().map(|to| to.place.run_key.0).collect();
    let nodes: Vec<_> = moves.iter().map(|to| to.place.node.0).collect();
    let map_indexes: Vec<_> = moves.iter().map(|to| to.place.map_index).collect();
    let gates: Vec<_> = moves.iter().map(|to| to.waits_for.as_ref().map(Gate::as_str)).collect();
    let changed: Vec<_> = deltas.iter().map(|(run, _)| run.0).collect();
    let active: Vec<_> = deltas.iter().map(|(_, delta)| delta.active).collect();
    let in_line: Vec<_> = deltas.iter().map(|(_, delta)| delta.in_line).collect();
    sqlx::query_scalar!(
        r#"with moving as materialized (
               select t.instance_key, t.run_key, t.state as before, t.queue, t.pool, t.priority, m.waits_for, m.ordinal
               from unnest($1::bigint[], $2::int[], $3::int[], $4::text[])
                        with ordinality as m(run_key, node, map_index, waits_for, ordinal)
               join task_instance t using (run_key, node, map_index)
               where t.state in ('none', 'scheduled')
           ), head as materialized (
               select q.queue, q.priority,
                      (select ticket from task_instance
                       where state = 'queued' and queue = q.queue and priority = q.priority
                       order by ticket limit 1) as ticket
               from (select distinct queue, priority from moving) q
           ), line as materialized (
               -- Who stands at the pool has its turn before whoever comes: where the pool is what is short, nobody is queued.
               -- What is too big for the pool never has its turn.
               select p.pool, p.priority,
                      (select ticket from task_instance
                       where state = 'scheduled' and waits_for <> 'run' and waits_for = 'pool:' || p.pool
                         and priority = p.priority
                         and exists (select from slots s where s.gate = 'pool:' || p.pool
                                     and (s.total < 0 or task_instance.pool_slots <= s.total))
                       order by ticket limit 1) as ticket
               from (select distinct pool, priority from moving) p
           ), share as materialized (
               select r.run_key, r.last_ticket, (select count(*) from dag_run a where a.dag_id = r.dag_id
                                                 and a.state = 'running') as active_runs
               from dag_run r where r.run_key = any($1)
           ), asked as materialized (
               select m.instance_key, m.before, m.waits_for,
                      greatest(s.last_ticket, coalesce(least(h.ticket, l.ticket),
                                                       (extract(epoch from statement_timestamp()) * 1e6)::bigint))
                          + row_number() over (partition by m.run_key order by m.ordinal) * s.active_runs as ticket
               from moving m
               join share s using (run_key)
               join head h on h.queue = m.queue and h.priority = m.priority
               join line l on l.pool = m.pool and l.priority = m.priority
           ), moved as (
               update task_instance t
               set state = case when a.waits_for is null then 'queued'::task_state else 'scheduled' end,
                   waits_for = a.waits_for,
                   ticket = case a.before when 'none' then a.ticket else t.ticket end,
                   try_number = t.try_number + (a.before = 'none')::int,
                   queued_at = case when a.waits_for is null then statement_timestamp() end,
                   end_date = null
               from asked a
               where t.instance_key = a.instance_key and t.state in ('none', 'scheduled')
               returning t.run_key, t.ticket, t.state
           ), counted as (
               update dag_run r
               set active = greatest(r.active + d.active, 0), in_line = greatest(r.in_line + d.in_line, 0),
                   last_ticket = greatest(r.last_ticket, coalesce(
                       (select max(m.ticket) from moved m where m.run_key = r.run_key), 0))
               from unnest($5::bigint[], $6::int[], $7::int[]) as d(run_key, active, in_line)
               where r.run_key = d.run_key
           )
           select count(*) filter (where state = 'queued') as "queued!" from moved"#,
        &runs,
        &nodes,
        &map_indexes,
        &gates as &[Option<&str>],
        &changed,
        &active,
        &in_line
    )
    .fetch_one(conn)
    .await
}
