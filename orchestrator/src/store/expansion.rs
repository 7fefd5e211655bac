//! `task_instance` and `run_node`: how many instances mapped tasks and groups have. All of it under the run's lock, and
//! followed by [`recount`](super::nodes::recount).

use sqlx::PgConnection;

use crate::ids::{Node, RunKey, TaskId};

/// How long the list is that a task returned; of a mapped task: how many of its instances returned something. None if
/// there is no list.
///
/// # Errors
/// The database is down.
pub async fn length(conn: &mut PgConnection, run: RunKey, source: &TaskId) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"select case
                      when exists (select from task_instance
                                   where run_key = $1 and task_id = $2 and map_index >= 0 and state <> 'removed')
                      then (select count(*) from xcom
                            where run_key = $1 and run_day = (select run_day from dag_run where run_key = $1)
                              and task_id = $2 and map_index >= 0 and key = 'return_value')
                      else (select coalesce(items, case jsonb_typeof(value) when 'array'
                                                   then jsonb_array_length(value) end) from xcom
                            where run_key = $1 and run_day = (select run_day from dag_run where run_key = $1)
                              and task_id = $2 and map_index = -1 and key = 'return_value')
                  end"#,
        run.0,
        source.as_str()
    )
    .fetch_one(conn)
    .await
}

/// The instances of a mapped task, or of all tasks of a mapped group.
#[derive(Clone, Debug)]
pub struct Resize<'a> {
    /// The tasks, by node.
    pub nodes: &'a [Node],
    /// The retries of each.
    pub retries: &'a [i32],
    /// How many instances each is to have.
    pub length: usize,
    /// Whether each index is decided alone, as in a mapped group.
    pub in_lanes: bool,
}

/// Makes the instances that are missing; with no items one that has no index. Those beyond the length have been
/// [removed](super::overrides::force) before.
///
/// # Errors
/// The database is down.
pub async fn resize(conn: &mut PgConnection, run: RunKey, to: &Resize<'_>) -> sqlx::Result<()> {
    let nodes: Vec<_> = to.nodes.iter().map(|node| node.0).collect();
    let length = i32::try_from(to.length).unwrap_or(i32::MAX);
    if length > 0 {
        give_index(conn, run, &nodes).await?;
    }
    let indexes = if length > 0 { 0..length } else { -1..0 };
    add_missing(conn, run, &nodes, to.retries, indexes).await?;
    if to.in_lanes { set_lanes(conn, run, &nodes, length).await } else { Ok(()) }
}

/// The instance without an index becomes the first one, unless there has been one before.
async fn give_index(conn: &mut PgConnection, run: RunKey, nodes: &[i32]) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from task_instance t
         where run_key = $1 and node = any($2) and map_index = -1
           and exists (select from task_instance f where f.run_key = $1 and f.node = t.node and f.map_index = 0)",
        run.0,
        nodes
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update task_instance set map_index = 0 where run_key = $1 and node = any($2) and map_index = -1",
        run.0,
        nodes
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn add_missing(
    conn: &mut PgConnection,
    run: RunKey,
    nodes: &[i32],
    retries: &[i32],
    indexes: std::ops::Range<i32>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into task_instance (run_key, node, map_index, dag_id, task_id, max_tries, priority, queue, pool,
                                    pool_slots)
         select t.run_key, t.node, i.map_index, t.dag_id, t.task_id, n.retries, t.priority, t.queue, t.pool, t.pool_slots
         from unnest($2::int[], $3::int[]) as n(node, retries)
         join task_instance t on t.run_key = $1 and t.node = n.node and t.map_index = 0
         cross join generate_series($4, $5 - 1) as i(map_index)
         on conflict (run_key, node, map_index)
         do update set state = 'none', max_tries = task_instance.try_number + excluded.max_tries, start_date = null,
                       end_date = null
         where task_instance.state = 'removed'",
        run.0,
        nodes,
        retries,
        indexes.start,
        indexes.end
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn set_lanes(conn: &mut PgConnection, run: RunKey, nodes: &[i32], length: i32) -> sqlx::Result<()> {
    sqlx::query!(
        "with made as (
             insert into run_node (run_key, node, lane, upstream)
             select $1, n.node, l.lane, 0
             from unnest($2::int[]) as n(node)
             cross join generate_series(least(0, $3 - 1), $3 - 1) as l(lane)
             on conflict do nothing
         )
         delete from run_node
         where run_key = $1 and node = any($2) and (lane >= greatest($3, 0) or (lane = -1 and $3 > 0))
           and not exists (select from task_instance t where t.run_key = run_node.run_key and t.node = run_node.node
                           and t.map_index = run_node.lane and t.state <> 'removed')",
        run.0,
        nodes,
        length
    )
    .execute(conn)
    .await?;
    Ok(())
}
