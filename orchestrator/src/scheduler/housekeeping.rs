//! Duty: partitions for the days to come, and no rows of processes that nobody remembers.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgConnection;

use crate::store::{self, processes};

/// Partitions are made two days ahead; an hour is early enough.
pub(super) const EVERY: Duration = Duration::from_secs(3_600);

/// How long an ended process stays in the list.
const REMEMBERED: TimeDelta = TimeDelta::days(7);

pub(super) async fn run_once(conn: &mut PgConnection) -> anyhow::Result<()> {
    store::ensure_partitions(conn).await?;
    let now = store::now(conn).await?;
    processes::delete_ended(conn, now - REMEMBERED).await?;
    Ok(())
}
