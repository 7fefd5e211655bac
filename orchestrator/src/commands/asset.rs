//! Assets: say that something outside has updated one.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{Origin, Refused};
use crate::store::{assets, events};

/// Says that an asset was updated: DAGs that wait for it run. Airflow's `create_asset_event`.
///
/// # Errors
/// [`Refused`].
pub async fn update_asset(conn: &mut PgConnection, asset: &str, extra: &Value, origin: Origin) -> Result<i64, Refused> {
    let mut tx = conn.begin().await?;
    let made = assets::updated_outside(&mut tx, asset, extra).await?;
    let made = made.ok_or_else(|| Refused::NoAsset(asset.to_owned()))?;
    let extra = json!({ "asset": asset });
    let event =
        events::Event { event: "create_asset_event", dag_id: None, run_id: None, owner: origin.as_str(), extra };
    events::append(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(made)
}
