//! Writes the log lines of all tries as they are said, many in one statement.

use std::time::Duration;

use sqlx::PgPool;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    store::{self, logs},
    task_log::{LogLine, LogOf},
};

/// Lines in one statement.
const BATCH: usize = 1_000;

/// How long to wait when the database is away.
const AGAIN: Duration = Duration::from_millis(500);

/// Starts the writer; it ends when the last sender is gone and everything is written, or at `give_up`.
pub(super) fn start(
    pool: PgPool,
    lines_max: usize,
    give_up: CancellationToken,
) -> (mpsc::Sender<(LogOf, LogLine)>, JoinHandle<()>) {
    let (sender, mut lines) = mpsc::channel(lines_max);
    let writer = tokio::spawn(async move {
        let writing = async {
            let mut batch = Vec::with_capacity(BATCH);
            while lines.recv_many(&mut batch, BATCH).await > 0 {
                write(&pool, &batch).await;
                batch.clear();
            }
        };
        tokio::select! {
            () = writing => {}
            () = give_up.cancelled() => {}
        }
    });
    (sender, writer)
}

/// Tries again while the database is away: the lines of a failing task are the ones that matter.
async fn write(pool: &PgPool, batch: &[(LogOf, LogLine)]) {
    loop {
        let error = match write_once(pool, batch).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if !store::is_transient(&error) {
            tracing::error!(%error, lines = batch.len(), "cannot write log lines");
            return;
        }
        tracing::warn!(%error, "cannot write log lines; trying again");
        tokio::time::sleep(AGAIN).await;
    }
}

async fn write_once(pool: &PgPool, batch: &[(LogOf, LogLine)]) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    // A line lost with the power is no loss of state: no need to wait for the disk.
    sqlx::raw_sql("set local synchronous_commit = off").execute(&mut *tx).await?;
    logs::append(&mut tx, batch).await?;
    tx.commit().await
}
