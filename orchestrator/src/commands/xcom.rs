//! Values that people write in the place of tasks.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{By, Refused, write_down};
use crate::{
    overflow::INLINE_BYTES_MAX,
    store::pages::{
        instances::InstanceListed,
        xcoms::{self, XcomListed},
    },
};

/// Writes a value under a name for a task instance, in the place of what was there.
///
/// # Errors
/// [`Refused`].
pub async fn put_xcom(
    conn: &mut PgConnection,
    of: &InstanceListed,
    key: &str,
    value: &Value,
    by: &By,
) -> Result<(), Refused> {
    if key.is_empty() || key.len() > 512 {
        return Err(Refused::Invalid("the key of an XCom has 1 to 512 bytes".to_owned()));
    }
    if value.to_string().len() > INLINE_BYTES_MAX {
        return Err(Refused::Invalid(format!(
            "a value of more than {INLINE_BYTES_MAX} bytes can only come from a task"
        )));
    }
    let mut tx = conn.begin().await?;
    xcoms::put(&mut tx, of.run_key, &of.task_id, of.map_index, key, value).await?;
    let extra = json!({ "task_id": of.task_id, "map_index": of.map_index, "key": key });
    write_down(&mut tx, "put_xcom_entry", &of.dag_id, Some(&of.run_id), by, extra).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes a value away; false if it is already gone.
///
/// # Errors
/// [`Refused`].
pub async fn delete_xcom(conn: &mut PgConnection, xcom: &XcomListed, by: &By) -> Result<bool, Refused> {
    let mut tx = conn.begin().await?;
    let deleted = xcoms::delete(&mut tx, xcom).await?;
    let extra = json!({ "task_id": xcom.task_id, "map_index": xcom.map_index, "key": xcom.key });
    write_down(&mut tx, "delete_xcom_entry", &xcom.dag_id, Some(&xcom.run_id), by, extra).await?;
    tx.commit().await?;
    Ok(deleted)
}
