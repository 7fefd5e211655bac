//! `asset` and what belongs to it: updates, who waits for them, what they made.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::{DagId, InstanceKey, RunId, RunKey, TaskId};

/// Makes assets known, and says for which of them a DAG waits.
///
/// # Errors
/// The database is down.
pub async fn register(
    conn: &mut PgConnection,
    dag: &DagId,
    known: &[String],
    waits_for: &[String],
) -> sqlx::Result<()> {
    sqlx::query!("insert into asset (name) select distinct unnest($1::text[]) on conflict do nothing", known)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from dag_asset where dag_id = $1 and asset <> all($2)", dag.as_str(), waits_for)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "insert into dag_asset (dag_id, asset) select distinct $1, unnest($2::text[]) on conflict do nothing",
        dag.as_str(),
        waits_for
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down that task instances have updated assets, for every unpaused DAG that waits for one; says for how many.
///
/// # Errors
/// The database is down.
pub async fn updated_by(conn: &mut PgConnection, updates: &[(InstanceKey, &str)]) -> sqlx::Result<u64> {
    let instances: Vec<_> = updates.iter().map(|(instance, _)| instance.0).collect();
    let assets: Vec<_> = updates.iter().map(|(_, asset)| (*asset).to_owned()).collect();
    let done = sqlx::query!(
        "with made as (
             insert into asset_event (asset, source_dag_id, source_run_id, source_task_id, source_map_index)
             select u.asset, r.dag_id, r.run_id, t.task_id, t.map_index
             from unnest($1::bigint[], $2::text[]) as u(instance_key, asset)
             join task_instance t using (instance_key) join dag_run r using (run_key)
             returning event_id, asset
         )
         insert into asset_queue (dag_id, event_id, asset)
         select w.dag_id, m.event_id, m.asset
         from made m join dag_asset w using (asset) join dag d on d.dag_id = w.dag_id and not d.is_paused",
        &instances,
        &assets
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Writes down that something outside has updated an asset; none if there is no such asset.
///
/// # Errors
/// The database is down.
pub async fn updated_outside(conn: &mut PgConnection, asset: &str, extra: &Value) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "with made as (
             insert into asset_event (asset, extra) select name, $2 from asset where name = $1
             returning event_id, asset
         ), queued as (
             insert into asset_queue (dag_id, event_id, asset)
             select w.dag_id, m.event_id, m.asset
             from made m join dag_asset w using (asset) join dag d on d.dag_id = w.dag_id and not d.is_paused
         )
         select event_id from made",
        asset,
        extra
    )
    .fetch_optional(conn)
    .await
}

/// The DAGs for which something is queued.
///
/// # Errors
/// The database is down.
pub async fn dags_with_updates(conn: &mut PgConnection) -> sqlx::Result<Vec<DagId>> {
    // From one to the next by the key: what is queued may be much, for few.
    sqlx::query_scalar!(
        r#"with recursive waiting (dag_id) as (
               (select dag_id from asset_queue order by dag_id limit 1)
               union all
               select (select q.dag_id from asset_queue q where q.dag_id > w.dag_id order by q.dag_id limit 1)
               from waiting w where w.dag_id is not null
           )
           select dag_id as "dag_id!: DagId" from waiting where dag_id is not null"#
    )
    .fetch_all(conn)
    .await
}

/// The assets that have been updated since a DAG ran for them last. Hold the DAG's lock.
///
/// # Errors
/// The database is down.
pub async fn queued(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select asset from dag_asset w where w.dag_id = $1
           and exists (select from asset_queue q where q.dag_id = w.dag_id and q.asset = w.asset)",
        dag.as_str()
    )
    .fetch_all(conn)
    .await
}

/// Takes what is queued for a DAG as what made a run. Hold the DAG's lock.
///
/// # Errors
/// The database is down.
pub async fn take(conn: &mut PgConnection, dag: &DagId, run: RunKey) -> sqlx::Result<()> {
    sqlx::query!(
        "with taken as (delete from asset_queue where dag_id = $1 returning event_id)
         insert into run_asset_event (run_key, event_id) select $2, event_id from taken",
        dag.as_str(),
        run.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what is queued for a DAG: it does not wait for assets any more.
///
/// # Errors
/// The database is down.
pub async fn forget(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<()> {
    sqlx::query!("delete from asset_queue where dag_id = $1", dag.as_str()).execute(conn).await?;
    Ok(())
}

/// Forgets what DAGs wait for that nobody has any more, and what is queued for them. One that comes back is registered anew.
///
/// # Errors
/// The database is down.
pub async fn forget_gone(conn: &mut PgConnection, deployed: &[DagId]) -> sqlx::Result<()> {
    let deployed: Vec<_> = deployed.iter().map(|dag| dag.as_str().to_owned()).collect();
    sqlx::query!(
        "with gone as (delete from dag_asset where dag_id <> all($1) returning dag_id)
         delete from asset_queue where dag_id in (select dag_id from gone)",
        &deployed
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An update of an asset.
#[derive(Clone, PartialEq, Debug)]
pub struct AssetEvent {
    /// Its number.
    pub event_id: i64,
    /// The asset.
    pub asset: String,
    /// The DAG that updated it; none: something outside.
    pub source_dag_id: Option<DagId>,
    /// The run.
    pub source_run_id: Option<RunId>,
    /// The task.
    pub source_task_id: Option<TaskId>,
    /// Its index in a mapped task.
    pub source_map_index: Option<i32>,
    /// What was said with it.
    pub extra: Value,
    /// When.
    pub happened_at: DateTime<Utc>,
}

/// The updates that made a run, in their order.
///
/// # Errors
/// The database is down.
pub async fn events_of_run(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Vec<AssetEvent>> {
    sqlx::query_as!(
        AssetEvent,
        r#"select e.event_id, e.asset, e.source_dag_id as "source_dag_id: DagId", e.source_run_id as "source_run_id: RunId",
                  e.source_task_id as "source_task_id: TaskId", e.source_map_index, e.extra, e.happened_at
           from run_asset_event r join asset_event e using (event_id) where r.run_key = $1 order by e.event_id"#,
        run.0
    )
    .fetch_all(conn)
    .await
}
