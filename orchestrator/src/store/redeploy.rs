//! `task_instance` and `run_node`: their places in the graph of another version. All of it under the run's lock, and
//! followed by [`recount`](super::nodes::recount).

use sqlx::PgConnection;

use crate::ids::{RunKey, VersionId};

/// The tasks of the new graph that the run has, a column each.
#[derive(Debug, Default)]
pub struct Places {
    /// How many tasks the new graph has.
    pub length: i32,
    /// Positions in it.
    pub nodes: Vec<i32>,
    /// Names of the tasks.
    pub task_ids: Vec<String>,
    /// Whether it has one instance for each item of something.
    pub mapped: Vec<bool>,
    /// Whether each index is decided alone, as in a mapped group.
    pub in_lanes: Vec<bool>,
    /// Whether it begins anew, whatever happened to it.
    pub anew: Vec<bool>,
    /// Retries of the tasks.
    pub retries: Vec<i32>,
    /// Priority weights.
    pub priorities: Vec<i32>,
    /// Worker queues.
    pub queues: Vec<String>,
    /// Pools.
    pub pools: Vec<String>,
    /// Slots of the pools.
    pub pool_slots: Vec<i32>,
}

/// Gives task instances their places. Those of tasks that are gone are removed, and have places behind all others.
///
/// # Errors
/// The database is down.
pub async fn place(conn: &mut PgConnection, run: RunKey, places: &Places) -> sqlx::Result<()> {
    // Out of the way, for a place is taken once: the statement after it sees no half of it.
    sqlx::query!("update task_instance set node = -1 - node where run_key = $1", run.0).execute(&mut *conn).await?;
    move_kept(conn, run, places).await?;
    remove_gone(conn, run, places.length).await?;
    sqlx::query!("delete from run_node where run_key = $1", run.0).execute(&mut *conn).await?;
    sqlx::query!(
        "insert into run_node (run_key, node, lane, upstream)
         select distinct t.run_key, t.node, case when p.in_lanes then t.map_index else -1 end, 0
         from task_instance t join unnest($2::int[], $3::bool[]) as p(node, in_lanes) using (node)
         where t.run_key = $1 and t.state <> 'removed'",
        run.0,
        &places.nodes,
        &places.in_lanes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A mapped task keeps its instances with indexes, if it has some; any other task the one without. What had been removed
/// waits again.
async fn move_kept(conn: &mut PgConnection, run: RunKey, places: &Places) -> sqlx::Result<()> {
    sqlx::query!(
        "update task_instance t
         set node = p.node, priority = p.priority, queue = p.queue, pool = p.pool, pool_slots = p.pool_slots,
             state = case when n.again then 'none' else t.state end,
             start_date = case when not n.again then t.start_date end,
             end_date = case when not n.again then t.end_date end,
             due_at = case when not n.again then t.due_at end, awaits = case when not n.again then t.awaits end,
             max_tries = case when n.again then t.try_number + p.retries else t.max_tries end
         from unnest($2::int[], $3::text[], $4::bool[], $5::bool[], $6::int[], $7::int[], $8::text[], $9::text[],
                     $10::int[])
             as p(node, task_id, mapped, anew, retries, priority, queue, pool, pool_slots)
         join task_instance o on o.run_key = $1 and o.task_id = p.task_id
              and case o.map_index
                  when -1 then not p.mapped or not exists (select from task_instance i where i.run_key = $1
                                                           and i.task_id = p.task_id and i.map_index >= 0)
                  else p.mapped end
         cross join lateral (select p.anew or o.state = 'removed' as again) n
         where t.instance_key = o.instance_key",
        run.0,
        &places.nodes,
        &places.task_ids,
        &places.mapped,
        &places.anew,
        &places.retries,
        &places.priorities,
        &places.queues,
        &places.pools,
        &places.pool_slots
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn remove_gone(conn: &mut PgConnection, run: RunKey, length: i32) -> sqlx::Result<()> {
    sqlx::query!(
        "with gone as (
             update task_instance
             set node = $2 - 1 - node, state = 'removed', due_at = null, awaits = null,
                 end_date = coalesce(end_date, statement_timestamp())
             where run_key = $1 and node < 0
             returning task_id, map_index
         )
         delete from xcom x using gone g
         where x.run_key = $1 and x.task_id = g.task_id and x.map_index = g.map_index",
        run.0,
        length
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down under which version a run is.
///
/// # Errors
/// The database is down.
pub async fn set_version(conn: &mut PgConnection, run: RunKey, version: VersionId) -> sqlx::Result<()> {
    sqlx::query!("update dag_run set version_id = $2 where run_key = $1", run.0, version.0).execute(conn).await?;
    Ok(())
}
