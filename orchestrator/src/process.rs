//! The incarnation of a scheduler, worker or web server: its row, and its lease.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::Instant;
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

    /// The longest time between two heartbeats that is no standstill.
    fn gap(self) -> Duration {
        self.heartbeat() * 2
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

/// Since when a process has been heard without a gap. After a standstill of the database, or of this machine, nobody else
/// could renew a lease either.
#[derive(Clone, Debug)]
pub struct Steadiness(Arc<Mutex<Heard>>);

impl Default for Steadiness {
    /// Unheard so far.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Heard::from(Instant::now()))))
    }
}

impl Steadiness {
    /// Begins anew: the database has failed.
    pub fn interrupt(&self) {
        self.lock().since = Instant::now();
    }

    /// Whether everybody who lives has had the time to renew a lease.
    #[must_use]
    pub fn has_lasted(&self, lease: Lease) -> bool {
        self.lock().has_lasted(lease, Instant::now())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    since: Instant,
    last: Instant,
}

impl From<Instant> for Heard {
    fn from(now: Instant) -> Self {
        Self { since: now, last: now }
    }
}

impl Heard {
    fn hear(&mut self, lease: Lease, now: Instant) {
        if now - self.last > lease.gap() {
            self.since = now;
        }
        self.last = now;
    }

    fn has_lasted(&self, lease: Lease, now: Instant) -> bool {
        now - self.last <= lease.gap() && now - self.since >= lease.length()
    }
}

/// The database's clock beside this machine's, which never jumps. A lease is an interval of the former: when that was set
/// forward, all leases are over at once, and nobody is lost.
#[derive(Debug, Default)]
pub struct Clock(Option<(DateTime<Utc>, Instant)>);

impl Clock {
    /// Looks at it; says whether it has jumped since the last look, by so much that it matters to a lease.
    pub fn has_jumped(&mut self, lease: Lease, now: DateTime<Utc>, here: Instant) -> bool {
        let Some((then, then_here)) = self.0.replace((now, here)) else { return false };
        let (went, passed) = ((now - then).as_seconds_f64(), (here - then_here).as_secs_f64());
        (went - passed).abs() > lease.gap().as_secs_f64()
    }
}

/// Keeps a scheduler or web process registered until `stop`; registers anew when it was marked lost. (A worker does
/// this itself, because it holds claims.)
pub async fn stay_registered(
    pool: PgPool,
    kind: ProcessKind,
    build: Option<String>,
    lease: Lease,
    steadiness: Steadiness,
    stop: CancellationToken,
) {
    let mut registered: Option<ProcessId> = None;
    loop {
        match beat(&pool, kind, build.as_deref(), lease, registered).await {
            Ok(id) => {
                registered = Some(id);
                steadiness.lock().hear(lease, Instant::now());
            }
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
    build: Option<&str>,
    lease: Lease,
    registered: Option<ProcessId>,
) -> sqlx::Result<ProcessId> {
    if let Some(id) = registered
        && processes::heartbeat_if_alive(&mut *pool.acquire().await?, id).await?
    {
        return Ok(id);
    }
    register(pool, kind, 0, lease, build).await
}

/// The name of this machine, for people.
#[must_use]
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_jumps_and_one_that_goes_late_does_not() {
        let lease = Lease::of(Duration::from_secs(12));
        let mut clock = Clock::default();
        let (mut now, mut here) = (DateTime::<Utc>::UNIX_EPOCH, Instant::now());
        let mut look = |went: i64, passed: u64| {
            now += chrono::TimeDelta::seconds(went);
            here += Duration::from_secs(passed);
            clock.has_jumped(lease, now, here)
        };
        for (went, passed, has_jumped) in [
            (0, 0, false),
            (1, 1, false),
            // Both stood still, or nobody looked.
            (900, 900, false),
            (3, 1, false),
            (16, 1, true),
            (1, 1, false),
            (-15, 1, true),
            // This machine slept, and its clock with it.
            (300, 1, true),
        ] {
            assert_eq!(look(went, passed), has_jumped, "{went} s in {passed} s");
        }
    }

    #[test]
    fn a_standstill_ends_what_lasted() {
        let lease = Lease::of(Duration::from_secs(12));
        let mut now = Instant::now();
        let mut heard = Heard::from(now);
        let mut beats = |heard: &mut Heard, beats: u32| {
            for _ in 0..beats {
                now += lease.heartbeat();
                heard.hear(lease, now);
            }
            now
        };
        let now = beats(&mut heard, 3);
        assert!(!heard.has_lasted(lease, now));
        let now = beats(&mut heard, 1);
        assert!(heard.has_lasted(lease, now));
        let later = now + lease.heartbeat() * 3;
        assert!(!heard.has_lasted(lease, later), "unheard");
        heard.hear(lease, later);
        assert!(!heard.has_lasted(lease, later), "the others must be heard first");
        for beat in 1..=4 {
            heard.hear(lease, later + lease.heartbeat() * beat);
        }
        assert!(heard.has_lasted(lease, later + lease.length()));
    }
}
