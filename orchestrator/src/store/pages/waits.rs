//! What is in the way of something that waits.

use sqlx::PgConnection;

use crate::ids::{DagId, InstanceKey, Node, RunId, RunKey, TaskId};

/// A task instance that something waits for.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its DAG.
    pub dag_id: DagId,
    /// Its run.
    pub run_id: RunId,
    /// Its task.
    pub task_id: TaskId,
    /// Its index in a mapped task.
    pub map_index: i32,
}

/// Whose slots.
#[derive(Clone, Copy, Debug)]
pub enum Slots<'a> {
    /// Those of a pool.
    Pool(&'a str),
    /// Those of a run (`max_active_tasks`).
    Run(RunKey),
    /// Those of a task over all runs (`max_active_tis_per_dag`).
    Task(&'a DagId, &'a TaskId),
}

/// Some of those that have slots: what runs, the longest first, then what is queued.
///
/// # Errors
/// The database is down.
pub async fn holders(conn: &mut PgConnection, of: Slots<'_>, limit: i64) -> sqlx::Result<Vec<Holder>> {
    let (pool, run, task) = match of {
        Slots::Pool(pool) => (Some(pool), None, None),
        Slots::Run(run) => (None, Some(run), None),
        Slots::Task(dag, task) => (None, None, Some((dag.as_str(), task.as_str()))),
    };
    let (dag, task) = task.unzip();
    sqlx::query_as!(
        Holder,
        // Each state by itself: as the indexes have them.
        r#"select r.dag_id as "dag_id!: DagId", r.run_id as "run_id!: RunId", t.task_id as "task_id!: TaskId",
                  t.map_index as "map_index!"
           from (
               select run_key, task_id, map_index, pool, start_date, 0 as place from task_instance
               where state in ('running', 'restarting')
               union all
               select run_key, task_id, map_index, pool, queued_at, 1 from task_instance where state = 'queued'
           ) t join dag_run r using (run_key)
           where ($1::text is null or t.pool = $1) and ($2::bigint is null or t.run_key = $2)
             and ($3::text is null or (r.dag_id = $3 and t.task_id = $4))
           order by t.place, t.start_date limit $5"#,
        pool,
        run as Option<RunKey>,
        dag,
        task,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The instances of these nodes of a run that have not ended, at most so many.
///
/// # Errors
/// The database is down.
pub async fn unfinished(conn: &mut PgConnection, run: RunKey, nodes: &[Node], limit: i64) -> sqlx::Result<Vec<Holder>> {
    let nodes: Vec<_> = nodes.iter().map(|node| node.0).collect();
    sqlx::query_as!(
        Holder,
        r#"select r.dag_id as "dag_id: DagId", r.run_id as "run_id: RunId", t.task_id as "task_id: TaskId", t.map_index
           from task_instance t join dag_run r using (run_key)
           where t.run_key = $1 and t.node = any($2)
             and t.state not in ('success', 'failed', 'skipped', 'upstream_failed', 'removed')
           order by t.node, t.map_index limit $3"#,
        run as RunKey,
        &nodes,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Task instances of a run that wait for the same.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The first of them.
    pub first: InstanceKey,
    /// How many.
    pub instances: i64,
}

/// What a run waits for, the most of them first; nothing if one of its tasks is at work.
///
/// # Errors
/// The database is down.
pub async fn of_run(conn: &mut PgConnection, run: RunKey, limit: i64) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"select min(instance_key) as "first!: InstanceKey", count(*) as "instances!" from task_instance
           where run_key = $1 and state in ('scheduled', 'queued', 'up_for_retry', 'up_for_reschedule', 'deferred')
             and not exists (select from task_instance where run_key = $1 and state in ('running', 'restarting'))
           group by state, waits_for order by 2 desc, 1 limit $2"#,
        run as RunKey,
        limit
    )
    .fetch_all(conn)
    .await
}
