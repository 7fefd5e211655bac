//! Duty: delete what is old. It has a task of its own, for it may take long.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::retention::{Cleaned, Retention};

/// Days are kept, so an hour more does not matter.
const EVERY: Duration = Duration::from_secs(3_600);

pub(super) async fn run(pool: PgPool, retention: Retention, stop: CancellationToken) {
    if retention == Retention::Everything {
        return;
    }
    while !stop.is_cancelled() {
        match clean(&pool, retention).await {
            Ok(cleaned) if cleaned == Cleaned::default() => {}
            Ok(Cleaned { runs, partitions, rows }) => {
                tracing::info!(runs, rows, partitions = partitions.join(", "), "deleted what is old");
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot delete what is old; trying again later"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn clean(pool: &PgPool, retention: Retention) -> anyhow::Result<Cleaned> {
    retention.clean(&mut *pool.acquire().await?).await
}
