//! `task_instance`: tries that failed and wait for the next one.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ids::{InstanceKey, Node, RunKey, VersionId},
    readiness::Counts,
};

/// A retry whose delay is over.
#[derive(Clone, Copy, Debug)]
pub struct DueRetry {
    /// The task instance.
    pub instance: InstanceKey,
    /// Its run.
    pub run_key: RunKey,
    /// The version that the run is under.
    pub version: VersionId,
    /// Its node.
    pub node: Node,
    /// How its upstream stands now.
    pub counts: Counts,
    /// Whether a branch has chosen not to run it.
    pub is_skipped: bool,
}

/// The retries whose delay is over, in runs that are running.
///
/// # Errors
/// The database is down.
pub async fn due_retries(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<DueRetry>> {
    let rows = sqlx::query!(
        r#"select t.instance_key as "instance: InstanceKey", t.run_key as "run_key: RunKey",
                  r.version_id as "version: VersionId", t.node as "node: Node", n.upstream, n.success, n.skipped,
                  n.failed, n.upstream_failed, n.removed,
                  exists (select from run_node b where b.run_key = t.run_key and t.node = any(b.skips))
                      as "is_skipped!"
           from task_instance t join run_node n using (run_key, node) join dag_run r using (run_key)
           where t.state = 'up_for_retry' and t.due_at <= $1 and r.state = 'running'
           order by t.due_at limit $2"#,
        now,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DueRetry {
            instance: row.instance,
            run_key: row.run_key,
            version: row.version,
            node: row.node,
            counts: Counts {
                upstream: row.upstream,
                success: row.success,
                skipped: row.skipped,
                failed: row.failed,
                upstream_failed: row.upstream_failed,
                removed: row.removed,
            },
            is_skipped: row.is_skipped,
        })
        .collect())
}

/// Queues those of the retries that are still due and that nobody else holds.
///
/// # Errors
/// The database is down.
pub async fn requeue_if_due(conn: &mut PgConnection, retries: &[InstanceKey], now: DateTime<Utc>) -> sqlx::Result<u64> {
    let retries: Vec<_> = retries.iter().map(|instance| instance.0).collect();
    let done = sqlx::query!(
        "with due as materialized (
             select instance_key from task_instance
             where instance_key = any($2) and state = 'up_for_retry' and due_at <= $1
             for update skip locked
         )
         update task_instance t
         set state = 'queued', try_number = t.try_number + 1, queued_at = $1, due_at = null, end_date = null
         from due d where t.instance_key = d.instance_key and t.state = 'up_for_retry'",
        now,
        &retries
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Takes the due retries of a run back to waiting for their upstream. Hold the run's lock.
///
/// # Errors
/// The database is down.
pub async fn wait_again_if_due(conn: &mut PgConnection, run: RunKey, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "update task_instance set state = 'none', due_at = null, end_date = null, start_date = null
         where run_key = $1 and state = 'up_for_retry' and due_at <= $2",
        run.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
