//! One heartbeat for all that a worker runs. It renews the lease, and holds what Postgres believes this worker runs
//! against what it does run. It has a thread and a connection of its own: a body that blocks the thread on which it runs
//! holds up its siblings, but does not make the whole worker look dead.

use std::{collections::HashSet, time::Duration};

use sqlx::PgPool;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

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

/// Begins to beat; it ends when what is returned is dropped, or the lease is lost.
///
/// # Errors
/// There is no thread or no runtime to be had.
pub(super) fn start(beats: Beats, running: Running, lost: CancellationToken) -> std::io::Result<DropGuard> {
    let (stop, worker) = (CancellationToken::new(), Handle::current());
    let stopped = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
        runtime.block_on(stopped.run_until_cancelled(run(beats, running, lost, worker)));
    })?;
    Ok(stop.drop_guard())
}

/// Beats until the lease is lost, which it says by `lost`. A worker that cannot reach the database for as long as its
/// lease holds does not stop its tasks: their results wait, and are refused if somebody else took over.
async fn run(beats: Beats, running: Running, lost: CancellationToken, worker: Handle) {
    let Beats { pool, id, lease } = beats;
    // A connection belongs to the runtime that has opened it.
    let pool = pool
        .options()
        .clone()
        .min_connections(0)
        .max_connections(1)
        .connect_lazy_with((*pool.connect_options()).clone());
    let mut watch = Watch { worker, answer: None };
    let mut unknown: HashSet<AttemptId> = HashSet::new();
    let mut pause = lease.heartbeat();
    loop {
        tokio::time::sleep(pause).await;
        pause = lease.heartbeat();
        watch.look(id);
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

/// Whether the worker's own threads still do something.
struct Watch {
    worker: Handle,
    /// What they were asked last; it is there as long as they have not come to it.
    answer: Option<JoinHandle<()>>,
}

impl Watch {
    fn look(&mut self, id: ProcessId) {
        if self.answer.as_ref().is_some_and(|answer| !answer.is_finished()) {
            tracing::warn!(
                worker = %id,
                "bodies block the threads of this worker: let them wait with .await, use tokio::task::spawn_blocking, or \
                 Isolation::Process"
            );
            return;
        }
        self.answer = Some(self.worker.spawn(async {}));
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
