//! `dag` and `dag_version`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    dag::Written,
    ids::{DagId, VersionId},
};

/// A DAG as the scheduler sees it.
#[derive(Debug)]
pub struct DagRow {
    /// Its id.
    pub dag_id: DagId,
    /// Whether its schedule and its queued runs wait.
    pub is_paused: bool,
    /// The version that new runs get.
    pub current_version_id: VersionId,
    /// The slot of its latest scheduled run.
    pub last_slot: Option<DateTime<Utc>>,
    /// The slot that comes next.
    pub next_run_at: Option<DateTime<Utc>>,
}

/// Stores a graph as a version, unless the DAG has it already.
///
/// # Errors
/// The database is down.
pub async fn ensure_version(
    conn: &mut PgConnection,
    dag: &DagId,
    hash: &str,
    graph: &Value,
) -> sqlx::Result<VersionId> {
    // Two processes may register the same new graph at once; the second one then sees the first one's row.
    sqlx::query!(
        "insert into dag_version (dag_id, number, graph_hash, graph)
         select $1, coalesce(max(number), 0) + 1, $2, $3 from dag_version where dag_id = $1
         having not exists (select from dag_version where dag_id = $1 and graph_hash = $2)
         on conflict do nothing",
        dag.as_str(),
        hash,
        graph
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"select version_id as "version_id: VersionId" from dag_version where dag_id = $1 and graph_hash = $2"#,
        dag.as_str(),
        hash
    )
    .fetch_one(conn)
    .await
}

/// Says where a version is written, and how.
///
/// # Errors
/// The database is down.
pub async fn set_written(conn: &mut PgConnection, version: VersionId, written: Written) -> sqlx::Result<()> {
    sqlx::query!(
        "update dag_version set file = $2, source = $3
         where version_id = $1 and (file, source) is distinct from ($2, $3)",
        version.0,
        written.file,
        written.source
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes `version` the one that new runs of the DAG get, and the DAG itself if it is new.
///
/// # Errors
/// The database is down.
pub async fn upsert(conn: &mut PgConnection, dag: &DagId, version: VersionId, paused_if_new: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into dag (dag_id, is_paused, current_version_id) values ($1, $2, $3)
         on conflict (dag_id) do update set current_version_id = excluded.current_version_id,
                                            last_registered_at = now()",
        dag.as_str(),
        paused_if_new,
        version.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the row of a DAG until the transaction ends: whoever makes or promotes runs of a DAG goes through here.
///
/// # Errors
/// The database is down.
pub async fn lock(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Option<DagRow>> {
    sqlx::query_as!(
        DagRow,
        r#"select dag_id as "dag_id: DagId", is_paused, current_version_id as "current_version_id: VersionId",
                  last_slot, next_run_at
           from dag where dag_id = $1 for no key update"#,
        dag.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// The same, unless somebody else holds it: a duty leaves the DAG to the next pass, and goes on with the others.
///
/// # Errors
/// The database is down.
pub async fn lock_if_free(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Option<DagRow>> {
    sqlx::query_as!(
        DagRow,
        r#"select dag_id as "dag_id: DagId", is_paused, current_version_id as "current_version_id: VersionId",
                  last_slot, next_run_at
           from dag where dag_id = $1 for no key update skip locked"#,
        dag.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// The DAGs whose next slot has come.
///
/// # Errors
/// The database is down.
pub async fn due(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Vec<DagId>> {
    sqlx::query_scalar!(
        r#"select dag_id as "dag_id: DagId" from dag where not is_paused and next_run_at <= $1 order by next_run_at"#,
        now
    )
    .fetch_all(conn)
    .await
}

/// Writes down which slot was the last and which comes next.
///
/// # Errors
/// The database is down.
pub async fn set_slots(
    conn: &mut PgConnection,
    dag: &DagId,
    last: Option<DateTime<Utc>>,
    next: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!("update dag set last_slot = $2, next_run_at = $3 where dag_id = $1", dag.as_str(), last, next)
        .execute(conn)
        .await?;
    Ok(())
}

/// Pauses or unpauses. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn set_paused(conn: &mut PgConnection, dag: &DagId, paused: bool) -> sqlx::Result<()> {
    sqlx::query!("update dag set is_paused = $2 where dag_id = $1", dag.as_str(), paused).execute(conn).await?;
    Ok(())
}

/// The graph of a version, as it was stored.
///
/// # Errors
/// The database is down, or there is no such version.
pub async fn graph(conn: &mut PgConnection, version: VersionId) -> sqlx::Result<Value> {
    sqlx::query_scalar!("select graph from dag_version where version_id = $1", version.0).fetch_one(conn).await
}

/// The hash of the graph of the version that new runs of the DAG get; none if there is no such DAG.
///
/// # Errors
/// The database is down.
pub async fn current_hash(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select v.graph_hash from dag d join dag_version v on v.version_id = d.current_version_id where d.dag_id = $1",
        dag.as_str()
    )
    .fetch_optional(conn)
    .await
}

/// The version that new runs of the DAG get; none if there is no such DAG.
///
/// # Errors
/// The database is down.
pub async fn current_version(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Option<VersionId>> {
    sqlx::query_scalar!(r#"select current_version_id as "version: VersionId" from dag where dag_id = $1"#, dag.as_str())
        .fetch_optional(conn)
        .await
}

/// Whether all runs of a DAG have ended. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn is_at_rest(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select not exists (
               select from dag_run where dag_id = $1 and (state in ('queued', 'running') or active > 0)) as "rests!""#,
        dag.as_str()
    )
    .fetch_one(conn)
    .await
}

/// Deletes a DAG with its runs, backfills and versions. Hold its lock.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<()> {
    sqlx::query!("delete from dag_run where dag_id = $1", dag.as_str()).execute(&mut *conn).await?;
    sqlx::query!("delete from backfill where dag_id = $1", dag.as_str()).execute(&mut *conn).await?;
    sqlx::query!("delete from dag where dag_id = $1", dag.as_str()).execute(&mut *conn).await?;
    sqlx::query!("delete from dag_version where dag_id = $1", dag.as_str()).execute(conn).await?;
    Ok(())
}
