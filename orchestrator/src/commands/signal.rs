//! Signals: tell tasks that something has happened.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{By, Refused};
use crate::store::{events, signals};

/// Longer keys are a mistake.
const KEY_LENGTH_MAX: usize = 250;

/// Posts a signal: tasks that are deferred until it comes go on, and those that ask for it later find it. Says how many
/// went on.
///
/// # Errors
/// [`Refused`].
pub async fn post_signal(conn: &mut PgConnection, key: &str, payload: &Value, by: &By) -> Result<u64, Refused> {
    if key.is_empty() || key.len() > KEY_LENGTH_MAX {
        return Err(Refused::Invalid(format!("a signal needs a key of at most {KEY_LENGTH_MAX} characters")));
    }
    let mut tx = conn.begin().await?;
    signals::hold(&mut tx, std::iter::once(key)).await?;
    signals::post(&mut tx, key, payload).await?;
    let woken = signals::wake(&mut tx, key).await?;
    let extra = json!({ "signal": key, "woken": woken });
    let event = events::Event { event: "post_signal", dag_id: None, run_id: None, by, extra };
    events::append(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(woken)
}
