//! Duty: make a run for a DAG when the assets that it waits for have been updated.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::{
    dag::Registry,
    engine::{Graphs, Trigger, create_run},
    ids::{DagId, RunId},
    schedule::Schedule,
    state::RunType,
    store::{assets, dags},
};

pub(super) async fn run_once(
    conn: &mut PgConnection,
    registry: &Registry,
    graphs: &Graphs,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let mut created = 0;
    for dag in assets::dags_with_updates(conn).await?.into_iter().filter(|dag| registry.get(dag).is_some()) {
        match create(conn, graphs, &dag, now).await {
            Ok(was_created) => created += u64::from(was_created),
            Err(error) => tracing::error!(%dag, error = format!("{error:#}"), "cannot make a run for its assets"),
        }
    }
    Ok(created)
}

/// Makes one run for all that is queued, under the DAG's lock: two schedulers at once make it once.
async fn create(conn: &mut PgConnection, graphs: &Graphs, dag: &DagId, now: DateTime<Utc>) -> anyhow::Result<bool> {
    let mut tx = conn.begin().await?;
    let Some(row) = dags::lock_if_free(&mut tx, dag).await?.filter(|row| !row.is_paused) else { return Ok(false) };
    let graph = graphs.get(&mut tx, row.current_version_id).await?;
    let updated = assets::queued(&mut tx, dag).await?;
    let is_due = match graph.schedule() {
        Schedule::AllAssets { assets } => assets.iter().all(|asset| updated.contains(asset)),
        Schedule::AnyAsset { assets } => assets.iter().any(|asset| updated.contains(asset)),
        _ => {
            assets::forget(&mut tx, dag).await?;
            tx.commit().await?;
            return Ok(false);
        }
    };
    if !is_due {
        return Ok(false);
    }
    let trigger = Trigger {
        dag_id: dag.clone(),
        run_id: RunId::from(format!("asset_triggered__{}", now.to_rfc3339_opts(SecondsFormat::Micros, false))),
        run_type: RunType::AssetTriggered,
        logical_date: None,
        data_interval: None,
        run_after: now,
        conf: json!({}),
        note: None,
        triggered_by: "asset",
        triggering_user: None,
    };
    // At the same microsecond as another one: the next pass makes it.
    let Some(run) = create_run(&mut tx, graphs, row.current_version_id, &trigger, now).await? else { return Ok(false) };
    assets::take(&mut tx, dag, run).await?;
    tx.commit().await?;
    Ok(true)
}
