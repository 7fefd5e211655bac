//! Duty: queue the retries whose delay is over.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::store::instances;

/// Retries in one statement; the rest is the next pass's.
const BATCH: i64 = 1_000;

pub(super) async fn run_once(conn: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<u64> {
    Ok(instances::requeue_due(conn, now, BATCH).await?)
}
