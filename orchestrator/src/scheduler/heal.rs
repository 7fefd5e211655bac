//! Duty: find what should not be, say so, and mend it: a count of slots that has drifted, a run in which nothing goes on.
//! Nothing in this version leads there but a deploy (one that changes what tasks owe to the run before, or whether a task has
//! a limit over all runs); a worker of an older version beside us, or a hand in the tables, may, too.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::{
    engine::{Freed, Graphs, move_on},
    ids::RunKey,
    store::{
        run_locks, runs,
        slots::{self, Drift},
    },
};

/// A drifted count keeps tasks waiting, or lets too many run; a minute of that is bearable.
pub(super) const EVERY: Duration = Duration::from_secs(60);

/// Runs in one pass; the rest is the next pass's.
const BATCH: i64 = 100;

pub(super) async fn run_once(conn: &mut PgConnection, graphs: &Graphs) -> anyhow::Result<()> {
    recount_slots(conn).await?;
    // One that waits for the run before is among them, and is looked at in vain.
    for run in runs::standing_still(conn, BATCH).await? {
        if let Err(error) = look_again(conn, graphs, run).await {
            tracing::error!(%run, error = format!("{error:#}"), "cannot look at it again");
        }
    }
    Ok(())
}

async fn recount_slots(conn: &mut PgConnection) -> anyhow::Result<()> {
    for gate in slots::gates(conn).await? {
        let mut tx = conn.begin().await?;
        if let Some(Drift { was, counted }) = slots::recount(&mut tx, &gate).await? {
            tracing::error!(gate = gate.as_str(), counted, was, "the count of its slots had drifted");
        }
        tx.commit().await?;
    }
    Ok(())
}

async fn look_again(conn: &mut PgConnection, graphs: &Graphs, run: RunKey) -> anyhow::Result<()> {
    let mut tx = conn.begin().await?;
    if let Some(run) = run_locks::lock_soon(&mut tx, run).await? {
        let settled = move_on(&mut tx, graphs, &[run], Freed::default()).await?;
        if settled.queued > 0 || !settled.finished.is_empty() {
            tracing::warn!(run = %run.run_key, queued = settled.queued, "nothing had told it to go on");
        }
        tx.commit().await?;
    }
    Ok(())
}
