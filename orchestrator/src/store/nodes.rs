//! `run_node`: the counts of ended upstream task instances.

use sqlx::PgConnection;

use crate::{
    dag::Edge,
    ids::{Node, RunKey},
    readiness::Counts,
    state::TaskState,
};

/// One decision about a node, and the task instances that it is about: all of them, or in a mapped group that of one
/// index.
#[derive(Clone, Debug)]
pub struct NodeRow {
    /// The node.
    pub node: Node,
    /// The map index that it is about; -1: all.
    pub lane: i32,
    /// How its upstream ended.
    pub counts: Counts,
    /// The map indexes and states of its task instances.
    pub instances: Vec<(i32, TaskState)>,
    /// The nodes that it chose not to run, if it is a branch that has decided.
    pub skips: Vec<Node>,
}

impl NodeRow {
    /// Whether one of its task instances is in that state.
    #[must_use]
    pub fn has(&self, state: TaskState) -> bool {
        self.instances.iter().any(|(_, found)| *found == state)
    }

    /// Its task instances that have not been removed.
    pub fn existing(&self) -> impl Iterator<Item = (i32, TaskState)> {
        self.instances.iter().copied().filter(|(_, state)| *state != TaskState::Removed)
    }
}

/// Makes the nodes of a new run, and one task instance for each.
///
/// # Errors
/// The database is down.
pub async fn insert(conn: &mut PgConnection, run: RunKey, rows: &NewNodes) -> sqlx::Result<()> {
    sqlx::query!(
        "with node as (
             insert into run_node (run_key, node, upstream)
             select $1, n.node, n.upstream from unnest($2::int[], $3::int[]) as n(node, upstream)
         )
         insert into task_instance (run_key, node, dag_id, task_id, max_tries, priority, queue, pool, pool_slots)
         select $1, t.node, r.dag_id, t.task_id, t.max_tries, t.priority, t.queue, t.pool, t.pool_slots
         from dag_run r, unnest($2::int[], $4::text[], $5::int[], $6::int[], $7::text[], $8::text[], $9::int[])
             as t(node, task_id, max_tries, priority, queue, pool, pool_slots)
         where r.run_key = $1",
        run.0,
        &rows.nodes,
        &rows.upstream,
        &rows.task_ids,
        &rows.max_tries,
        &rows.priorities,
        &rows.queues,
        &rows.pools,
        &rows.pool_slots
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The nodes of a new run, a column each.
#[derive(Debug, Default)]
pub struct NewNodes {
    /// Positions in the graph.
    pub nodes: Vec<i32>,
    /// How many upstream task instances each has.
    pub upstream: Vec<i32>,
    /// Names of the tasks.
    pub task_ids: Vec<String>,
    /// Retries of the tasks.
    pub max_tries: Vec<i32>,
    /// Priority weights.
    pub priorities: Vec<i32>,
    /// Worker queues.
    pub queues: Vec<String>,
    /// Pools.
    pub pools: Vec<String>,
    /// Slots of the pools.
    pub pool_slots: Vec<i32>,
}

/// Every decision of a run, in the order of nodes and lanes. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn of_run(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Vec<NodeRow>> {
    let rows = sqlx::query!(
        r#"select n.node as "node: Node", n.lane, n.upstream, n.success, n.skipped, n.failed, n.upstream_failed, n.skips,
                  t.map_index, t.state as "state: TaskState"
           from run_node n join task_instance t
                on t.run_key = n.run_key and t.node = n.node and (n.lane = -1 or t.map_index = n.lane)
           where n.run_key = $1 order by n.node, n.lane, t.map_index"#,
        run.0
    )
    .fetch_all(conn)
    .await?;
    let mut decisions: Vec<NodeRow> = Vec::new();
    for row in rows {
        if let Some(last) = decisions.last_mut().filter(|last| (last.node, last.lane) == (row.node, row.lane)) {
            last.instances.push((row.map_index, row.state));
            continue;
        }
        decisions.push(NodeRow {
            node: row.node,
            lane: row.lane,
            counts: Counts {
                upstream: row.upstream,
                success: row.success,
                skipped: row.skipped,
                failed: row.failed,
                upstream_failed: row.upstream_failed,
            },
            instances: vec![(row.map_index, row.state)],
            skips: row.skips.into_iter().flatten().map(Node).collect(),
        });
    }
    Ok(decisions)
}

/// Writes down which nodes an instance of a branch chose not to run; a clear of these finds it again. Hold the run's
/// lock.
///
/// # Errors
/// The database is down.
pub async fn keep_skips(
    conn: &mut PgConnection,
    run: RunKey,
    node: Node,
    map_index: i32,
    skips: &[Node],
) -> sqlx::Result<()> {
    let skips: Vec<_> = skips.iter().map(|node| node.0).collect();
    sqlx::query!(
        "update run_node set skips = coalesce(skips, '{}') || $4::int[]
         where run_key = $1 and node = $2 and lane in (-1, $3)",
        run.0,
        node.0,
        map_index,
        &skips
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what instances of branches chose, because they are to choose anew. Hold the run's lock.
///
/// # Errors
/// The database is down.
pub async fn forget_skips(conn: &mut PgConnection, run: RunKey, instances: &[(Node, i32)]) -> sqlx::Result<()> {
    let (nodes, map_indexes): (Vec<_>, Vec<_>) = instances.iter().map(|(node, index)| (node.0, *index)).unzip();
    sqlx::query!(
        "update run_node n set skips = null from unnest($2::int[], $3::int[]) as c(node, map_index)
         where n.run_key = $1 and n.node = c.node and n.lane in (-1, c.map_index) and n.skips is not null",
        run.0,
        &nodes,
        &map_indexes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a run's decisions, its unfinished task instances and those that passed its gate anew, from the states of the
/// task instances and the edges of the graph. Whoever writes states under the run lock other than by an outcome, or
/// makes or removes instances, calls it; the tests hold every count against it.
///
/// # Errors
/// The database is down.
pub async fn recount(conn: &mut PgConnection, run: RunKey, edges: &[Edge]) -> sqlx::Result<()> {
    let edges = EdgeColumns::of(edges);
    sqlx::query!(
        "with counted as (
             select n.node, n.lane,
                    count(u.state) filter (where u.state <> 'removed') as upstream,
                    count(*) filter (where u.state = 'success') as success,
                    count(*) filter (where u.state = 'skipped') as skipped,
                    count(*) filter (where u.state = 'failed') as failed,
                    count(*) filter (where u.state = 'upstream_failed') as upstream_failed
             from run_node n
             left join unnest($2::int[], $3::int[], $4::bool[]) as e(upstream_node, node, within_lane)
                       on e.node = n.node
             left join task_instance u on u.run_key = n.run_key and u.node = e.upstream_node
                                       and (not e.within_lane or u.map_index = n.lane)
             where n.run_key = $1
             group by n.node, n.lane
         ), renewed as (
             update run_node n set upstream = c.upstream, success = c.success, skipped = c.skipped, failed = c.failed,
                                   upstream_failed = c.upstream_failed, removed = 0
             from counted c where n.run_key = $1 and n.node = c.node and n.lane = c.lane
         )
         update dag_run r set unfinished = c.unfinished, active = c.active, in_line = c.in_line
         from (
             select count(*) filter (where state not in ('success', 'failed', 'skipped', 'upstream_failed', 'removed'))
                        as unfinished,
                    count(*) filter (where state in ('queued', 'running', 'restarting')
                                        or (state = 'scheduled' and waits_for <> 'run')) as active,
                    count(*) filter (where state = 'scheduled' and waits_for = 'run') as in_line
             from task_instance where run_key = $1
         ) c where r.run_key = $1",
        run.0,
        &edges.from,
        &edges.to,
        &edges.within_lane
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Edges, a column each.
#[derive(Debug, Default)]
pub(super) struct EdgeColumns {
    pub(super) from: Vec<i32>,
    pub(super) to: Vec<i32>,
    pub(super) within_lane: Vec<bool>,
}

impl EdgeColumns {
    pub(super) fn of<'e>(edges: impl IntoIterator<Item = &'e Edge>) -> Self {
        let mut columns = Self::default();
        for edge in edges {
            columns.from.push(edge.from.0);
            columns.to.push(edge.to.0);
            columns.within_lane.push(edge.within_lane);
        }
        columns
    }
}
