//! `run_node`: the counts of ended upstream task instances.

use sqlx::PgConnection;

use crate::{
    ids::{Node, RunKey},
    readiness::Counts,
    state::TaskState,
};

/// The counts of one node and the state of its task instance.
#[derive(Clone, Debug)]
pub struct NodeRow {
    /// The node.
    pub node: Node,
    /// How its upstream ended.
    pub counts: Counts,
    /// Where its task instance is.
    pub state: TaskState,
    /// The nodes that it chose not to run, if it is a branch that has decided.
    pub skips: Vec<Node>,
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

/// Every node of a run. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn of_run(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Vec<NodeRow>> {
    let rows = sqlx::query!(
        r#"select n.node, n.upstream, n.success, n.skipped, n.failed, n.upstream_failed, n.removed,
                  t.state as "state: TaskState", n.skips
           from run_node n join task_instance t using (run_key, node)
           where n.run_key = $1 order by n.node"#,
        run.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| NodeRow {
            node: Node(row.node),
            counts: Counts {
                upstream: row.upstream,
                success: row.success,
                skipped: row.skipped,
                failed: row.failed,
                upstream_failed: row.upstream_failed,
                removed: row.removed,
            },
            state: row.state,
            skips: row.skips.into_iter().flatten().map(Node).collect(),
        })
        .collect())
}

/// Writes down which nodes a branch chose not to run; a clear of these finds it again. Hold the run's lock.
///
/// # Errors
/// The database is down.
pub async fn keep_skips(conn: &mut PgConnection, run: RunKey, node: Node, skips: &[Node]) -> sqlx::Result<()> {
    let skips: Vec<_> = skips.iter().map(|node| node.0).collect();
    sqlx::query!("update run_node set skips = $3 where run_key = $1 and node = $2", run.0, node.0, &skips)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets what branches chose, because they are to choose anew. Hold the run's lock.
///
/// # Errors
/// The database is down.
pub async fn forget_skips(conn: &mut PgConnection, run: RunKey, nodes: &[Node]) -> sqlx::Result<()> {
    let nodes: Vec<_> = nodes.iter().map(|node| node.0).collect();
    sqlx::query!(
        "update run_node set skips = null where run_key = $1 and node = any($2) and skips is not null",
        run.0,
        &nodes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a run's nodes, unfinished task instances and those that passed its gate anew, from the states of the task instances and the edges of
/// the graph. Whoever writes states under the run lock other than by an outcome calls it; the tests hold every count
/// against it.
///
/// # Errors
/// The database is down.
pub async fn recount(conn: &mut PgConnection, run: RunKey, edges: &[(Node, Node)]) -> sqlx::Result<()> {
    let (from, to): (Vec<_>, Vec<_>) = edges.iter().map(|(from, to)| (from.0, to.0)).unzip();
    sqlx::query!(
        "with counted as (
             select n.node,
                    count(*) filter (where u.state = 'success') as success,
                    count(*) filter (where u.state = 'skipped') as skipped,
                    count(*) filter (where u.state = 'failed') as failed,
                    count(*) filter (where u.state = 'upstream_failed') as upstream_failed,
                    count(*) filter (where u.state = 'removed') as removed
             from run_node n
             left join unnest($2::int[], $3::int[]) as e(upstream_node, node) on e.node = n.node
             left join task_instance u on u.run_key = n.run_key and u.node = e.upstream_node
             where n.run_key = $1
             group by n.node
         ), renewed as (
             update run_node n set success = c.success, skipped = c.skipped, failed = c.failed,
                                   upstream_failed = c.upstream_failed, removed = c.removed
             from counted c where n.run_key = $1 and n.node = c.node
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
        &from,
        &to
    )
    .execute(conn)
    .await?;
    Ok(())
}
