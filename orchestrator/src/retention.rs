//! How long what has ended is kept.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::store::{
    self,
    retention::{self, Keeps},
};

/// How long ended runs, their tries, logs and values, and the event log are kept. Airflow's `db clean`, done by the
/// schedulers as they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retention {
    /// For ever.
    #[default]
    Everything,
    /// So many days.
    Days(u32),
}

/// What was deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cleaned {
    /// Runs.
    pub runs: u64,
    /// Partitions of history.
    pub partitions: Vec<String>,
    /// Rows of history that were in no partition, updates of assets, and signals.
    pub rows: u64,
}

/// Between two batches: whoever works meanwhile goes first.
const PAUSE: Duration = Duration::from_millis(50);

impl Retention {
    /// Deletes what is older, in batches that are short enough not to be noticed.
    ///
    /// # Errors
    /// The database is down; what was deleted before stays so.
    pub async fn clean(self, conn: &mut PgConnection) -> anyhow::Result<Cleaned> {
        let Self::Days(days) = self else { return Ok(Cleaned::default()) };
        let before = store::now(conn).await? - TimeDelta::days(i64::from(days));
        clean(conn, before).await
    }
}

/// Deletes what ended before that instant.
///
/// # Errors
/// The database is down; what was deleted before stays so.
pub async fn clean(conn: &mut PgConnection, before: DateTime<Utc>) -> anyhow::Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    loop {
        let deleted = retention::delete_runs(conn, before).await?;
        cleaned.runs += deleted;
        if deleted == 0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let events = before.date_naive();
    let kept = retention::oldest_kept(conn, before).await?;
    if let Some(Keeps { day, dag_id, run_id }) = &kept {
        tracing::warn!(%dag_id, %run_id, %day, "the tries, logs and results since then are kept for this run");
    }
    let runs = kept.map_or(events, |kept| kept.day);
    cleaned.partitions = retention::drop_partitions(conn, runs, events).await?;
    loop {
        let deleted = retention::delete_from_defaults(conn, runs, events).await?
            + retention::delete_happenings(conn, before).await?;
        cleaned.rows += deleted;
        if deleted == 0 {
            return Ok(cleaned);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
