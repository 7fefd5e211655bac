//! `task_instance`: tries that failed and sensors that looked in vain, and wait for their time.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ids::{Node, RunKey},
    readiness::Counts,
};

/// The running runs in which something is due, the longest due first.
///
/// # Errors
/// The database is down.
pub async fn runs(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<RunKey>> {
    sqlx::query_scalar!(
        r#"select t.run_key as "run_key: RunKey" from task_instance t join dag_run r using (run_key)
           where t.state in ('up_for_retry', 'up_for_reschedule', 'deferred') and t.due_at <= $1 and r.state = 'running'
           group by t.run_key order by min(t.due_at) limit $2"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A task instance whose time has come.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Its node.
    pub node: Node,
    /// Its index in a mapped task.
    pub map_index: i32,
    /// How its upstream stands now.
    pub counts: Counts,
    /// Whether a branch has chosen not to run it.
    pub is_skipped: bool,
    /// Whether it kept the slots of its pool while it was deferred.
    pub kept_slots: bool,
}

/// Takes what is due in a run back to waiting, to be decided anew. A sensor goes on with the try that it had. Hold the
/// run's lock.
///
/// # Errors
/// The database is down.
pub async fn wait_again(conn: &mut PgConnection, run: RunKey, now: DateTime<Utc>) -> sqlx::Result<Vec<Due>> {
    let rows = sqlx::query!(
        r#"with due as materialized (
               -- In the order in which everybody locks task instances.
               select instance_key, waits_for is not null as kept_slots from task_instance
               where run_key = $1 and state in ('up_for_retry', 'up_for_reschedule', 'deferred') and due_at <= $2
               order by instance_key for no key update
           ), back as (
               update task_instance t
               set state = 'none', due_at = null, awaits = null, waits_for = null, end_date = null, start_date = null,
                   try_number = try_number - (state in ('up_for_reschedule', 'deferred'))::int
               from due d where t.instance_key = d.instance_key
               returning t.node, t.map_index, d.kept_slots
           )
           select n.node as "node: Node", back.map_index, n.upstream, n.success, n.skipped, n.failed, n.upstream_failed,
                  exists (select from run_node b where b.run_key = $1 and b.skips is not null and n.node = any(b.skips)
                            and (b.lane = -1 or n.lane = -1 or b.lane = n.lane))
                      as "is_skipped!", back.kept_slots as "kept_slots!"
           from back join run_node n on n.run_key = $1 and n.node = back.node and n.lane in (-1, back.map_index)"#,
        run.0,
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Due {
            node: row.node,
            map_index: row.map_index,
            counts: Counts {
                upstream: row.upstream,
                success: row.success,
                skipped: row.skipped,
                failed: row.failed,
                upstream_failed: row.upstream_failed,
            },
            is_skipped: row.is_skipped,
            kept_slots: row.kept_slots,
        })
        .collect())
}
