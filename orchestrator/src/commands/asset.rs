//! Assets: say that something outside has updated one; forget updates for which a DAG has not run yet.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{By, Refused};
use crate::store::{assets, events, pages};

/// Says that an asset was updated: DAGs that wait for it run. Airflow's `create_asset_event`.
///
/// # Errors
/// [`Refused`].
pub async fn update_asset(conn: &mut PgConnection, asset: &str, extra: &Value, by: &By) -> Result<i64, Refused> {
    let mut tx = conn.begin().await?;
    let made = assets::updated_outside(&mut tx, asset, extra).await?;
    let made = made.ok_or_else(|| Refused::NoAsset(asset.to_owned()))?;
    let extra = json!({ "asset": asset });
    let event = events::Event { event: "create_asset_event", dag_id: None, run_id: None, by, extra };
    events::append(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(made)
}

/// Forgets updates for which DAGs have not run yet; says how many.
///
/// # Errors
/// [`Refused`].
pub async fn forget_updates(
    conn: &mut PgConnection,
    which: &pages::assets::QueueFilter,
    by: &By,
) -> Result<u64, Refused> {
    let mut tx = conn.begin().await?;
    let forgotten = pages::assets::forget_queued(&mut tx, which).await?;
    let extra = json!({ "asset_id": which.asset_id, "before": which.before, "forgotten": forgotten });
    let (event, dag_id) = ("delete_queued_asset_events", which.dag_id.as_ref());
    events::append(&mut tx, &events::Event { event, dag_id, run_id: None, by, extra }).await?;
    tx.commit().await?;
    Ok(forgotten)
}
