//! `task_instance`: attempts whose worker is gone.

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::ids::{AttemptId, DagId, InstanceKey, Node, ProcessId, RunId, RunKey, VersionId};

/// An attempt whose worker is gone.
#[derive(Clone, Debug)]
pub struct LostAttempt {
    /// The task instance.
    pub instance: InstanceKey,
    /// The token of the lost claim.
    pub attempt: AttemptId,
    /// The worker that is gone.
    pub worker: ProcessId,
    /// Its run.
    pub run_key: RunKey,
    /// The version that the run is under.
    pub version: VersionId,
    /// Its node in the graph of that version.
    pub node: Node,
    /// Its index in a mapped task.
    pub map_index: i32,
    /// Its DAG.
    pub dag_id: DagId,
    /// The id of its run.
    pub run_id: RunId,
    /// The day of its run.
    pub run_day: NaiveDate,
    /// The number of the try.
    pub try_number: i32,
    /// The last try that may be retried.
    pub max_tries: i32,
    /// The host of the worker, if anybody remembers it.
    pub hostname: Option<String>,
}

/// The attempts whose worker is marked lost or stopped, or is not known at all.
///
/// # Errors
/// The database is down.
pub async fn lost(conn: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<LostAttempt>> {
    sqlx::query_as!(
        LostAttempt,
        r#"select t.instance_key as "instance: InstanceKey", t.attempt as "attempt!: AttemptId",
                  t.worker_id as "worker!: ProcessId", t.run_key as "run_key: RunKey",
                  r.version_id as "version: VersionId", t.node as "node: Node", t.map_index, t.dag_id as "dag_id: DagId",
                  r.run_id as "run_id: RunId", r.run_day, t.try_number, t.max_tries, p.hostname as "hostname?"
           from task_instance t join dag_run r using (run_key) left join process p on p.process_id = t.worker_id
           where t.state in ('running', 'restarting') and p.state is distinct from 'alive'
           limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await
}
