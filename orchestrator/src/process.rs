//! The incarnation of a scheduler, worker or web server: its row, and its lease.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    ids::ProcessId,
    store::processes::{self, ProcessKind},
};

/// How long a process may be unheard before it is lost, and its tasks are taken from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease(Duration);

impl Lease {
    /// A lease of that length.
    #[must_use]
    pub fn of(length: Duration) -> Self {
        Self(length)
    }

    /// How long it is.
    #[must_use]
    pub fn length(self) -> Duration {
        self.0
    }

    /// How often the process is heard: three heartbeats may be late.
    #[must_use]
    pub fn heartbeat(self) -> Duration {
        self.0 / 4
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self(Duration::from_secs(12))
    }
}

/// Registers an incarnation under a fresh id; of a worker with what its binary can run.
///
/// # Errors
/// The database is down.
pub async fn register(
    pool: &PgPool,
    kind: ProcessKind,
    slots: u32,
    lease: Lease,
    build: Option<&str>,
) -> sqlx::Result<ProcessId> {
    let id = ProcessId(uuid::Uuid::new_v4());
    let slots = i32::try_from(slots).unwrap_or(i32::MAX);
    processes::insert(&mut *pool.acquire().await?, id, kind, slots, lease, build).await?;
    Ok(id)
}

/// Keeps a scheduler or web process registered until `stop`; registers anew when it was marked lost. (A worker does
/// this itself, because it holds claims.)
pub async fn stay_registered(pool: PgPool, kind: ProcessKind, lease: Lease, stop: CancellationToken) {
    let mut registered: Option<ProcessId> = None;
    loop {
        match beat(&pool, kind, lease, registered).await {
            Ok(id) => registered = Some(id),
            Err(error) => tracing::warn!(?kind, %error, "heartbeat failed"),
        }
        tokio::select! {
            () = tokio::time::sleep(lease.heartbeat()) => {}
            () = stop.cancelled() => break,
        }
    }
    if let (Some(id), Ok(mut conn)) = (registered, pool.acquire().await) {
        processes::stop(&mut conn, id).await.ok();
    }
}

async fn beat(
    pool: &PgPool,
    kind: ProcessKind,
    lease: Lease,
    registered: Option<ProcessId>,
) -> sqlx::Result<ProcessId> {
    if let Some(id) = registered
        && processes::heartbeat_if_alive(&mut *pool.acquire().await?, id).await?
    {
        return Ok(id);
    }
    register(pool, kind, 0, lease, None).await
}

/// The name of this machine, for people.
#[must_use]
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
