//! One heartbeat for all that a worker runs. It renews the lease, and holds what Postgres believes this worker runs
//! against what it does run.

use std::{collections::HashSet, time::Duration};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::running::Running;
use crate::{
    ids::{AttemptId, ProcessId},
    process::Lease,
    state::TaskState,
    store::{
        instances::{self, Held},
        processes,
    },
};

/// The lease runs on while the database is away, so the next beat comes soon.
const AFTER_FAILURE: Duration = Duration::from_millis(300);

/// Whose lease is renewed, where, and how long it is.
pub(super) struct Beats {
    pub(super) pool: PgPool,
    pub(super) id: ProcessId,
    pub(super) lease: Lease,
}

/// Beats until the lease is lost, which it says by `lost`. A worker that cannot reach the database for as long as its
/// lease holds does not stop its tasks: their results wait, and are refused if somebody else took over.
pub(super) async fn run(beats: Beats, running: Running, lost: CancellationToken) {
    let Beats { pool, id, lease } = beats;
    let mut unknown: HashSet<AttemptId> = HashSet::new();
    let mut pause = lease.heartbeat();
    loop {
        tokio::time::sleep(pause).await;
        pause = lease.heartbeat();
        match beat(&pool, id, &running, &mut unknown).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(worker = %id, lease_secs = lease.length().as_secs(), "marked lost; starting anew");
                lost.cancel();
                return;
            }
            Err(error) => {
                tracing::warn!(worker = %id, %error, "heartbeat failed");
                pause = AFTER_FAILURE;
            }
        }
    }
}

async fn beat(pool: &PgPool, id: ProcessId, running: &Running, unknown: &mut HashSet<AttemptId>) -> sqlx::Result<bool> {
    let mut conn = pool.acquire().await?;
    if !processes::heartbeat_if_alive(&mut conn, id).await? {
        return Ok(false);
    }
    let before = running.attempts();
    let held = instances::held_by(&mut conn, id).await?;
    for claim in &held {
        if claim.state == TaskState::Restarting {
            running.cancel(claim.attempt);
        }
    }
    for attempt in gone(&before, &held) {
        running.cancel(attempt);
    }
    // A claim whose reply was lost is held by nobody. It may also be on its way to us at this moment, so it must be
    // unknown twice in a row.
    let still: HashSet<_> =
        held.iter().filter(|claim| !running.contains(claim.attempt)).map(|claim| claim.attempt).collect();
    for claim in held.iter().filter(|claim| still.contains(&claim.attempt) && unknown.contains(&claim.attempt)) {
        tracing::warn!(instance = %claim.instance, "claimed, but never started; handing it back");
        if !instances::hand_back_if_current(&mut conn, claim.instance, claim.attempt).await? {
            instances::disown_if_restarting(&mut conn, claim.instance, claim.attempt).await?;
        }
    }
    *unknown = still;
    Ok(true)
}

/// What runs here though Postgres knows nothing of it (any more).
fn gone(before: &[AttemptId], held: &[Held]) -> Vec<AttemptId> {
    let held: HashSet<_> = held.iter().map(|claim| claim.attempt).collect();
    before.iter().filter(|attempt| !held.contains(attempt)).copied().collect()
}
