//! `process`: who is alive.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::{
    ids::ProcessId,
    process::{self, Lease},
};

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "process_kind", rename_all = "snake_case")]
pub enum ProcessKind {
    /// Makes runs, queues retries, rescues.
    Scheduler,
    /// Runs task bodies.
    Worker,
    /// Serves the API and the pages.
    Web,
}

impl ProcessKind {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
            Self::Web => "web",
        }
    }
}

/// Registers an incarnation.
///
/// # Errors
/// The database is down.
pub async fn insert(
    conn: &mut PgConnection,
    id: ProcessId,
    kind: ProcessKind,
    slots: i32,
    lease: Lease,
    build: Option<&str>,
) -> sqlx::Result<()> {
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    sqlx::query!(
        "insert into process (process_id, kind, hostname, pid, slots, lease_secs, build)
         values ($1, $2, $3, $4, $5, $6, $7)",
        id.0,
        kind as ProcessKind,
        process::hostname(),
        pid,
        slots,
        lease.length().as_secs_f64(),
        build
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether there are workers that live, and all of them are of that build.
///
/// # Errors
/// The database is down.
pub async fn all_workers_are_of(conn: &mut PgConnection, build: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select coalesce(bool_and(build is not distinct from $1), false) as "all!" from process
           where kind = 'worker' and state = 'alive'"#,
        build
    )
    .fetch_one(conn)
    .await
}

/// Whether no scheduler or worker of another build has been heard since then.
///
/// # Errors
/// The database is down.
pub async fn all_have_been_of(conn: &mut PgConnection, build: &str, since: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select not exists (select from process
                              where kind in ('scheduler', 'worker') and build is distinct from $1
                                and (state = 'alive' or heartbeat_at > $2)) as "all!""#,
        build,
        since
    )
    .fetch_one(conn)
    .await
}

/// Renews the lease of an incarnation; false if it is not alive any more.
///
/// # Errors
/// The database is down.
pub async fn heartbeat_if_alive(conn: &mut PgConnection, id: ProcessId) -> sqlx::Result<bool> {
    let done = sqlx::query!("update process set heartbeat_at = now() where process_id = $1 and state = 'alive'", id.0)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Says that an incarnation has ended in order.
///
/// # Errors
/// The database is down.
pub async fn stop(conn: &mut PgConnection, id: ProcessId) -> sqlx::Result<()> {
    sqlx::query!("update process set state = 'stopped' where process_id = $1 and state = 'alive'", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// A process whose lease is over.
#[derive(Debug)]
pub struct LostProcess {
    /// Its incarnation.
    pub process_id: ProcessId,
    /// What it did.
    pub kind: ProcessKind,
    /// Where it ran.
    pub hostname: String,
}

/// Marks the processes whose last heartbeat is older than their lease.
///
/// # Errors
/// The database is down.
pub async fn mark_lost(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Vec<LostProcess>> {
    sqlx::query_as!(
        LostProcess,
        r#"update process set state = 'lost' where state = 'alive' and heartbeat_at < $1::timestamptz - make_interval(secs => lease_secs)
           returning process_id as "process_id: ProcessId", kind as "kind: ProcessKind", hostname"#,
        now
    )
    .fetch_all(conn)
    .await
}

/// The latest heartbeat of a kind of process that is alive.
///
/// # Errors
/// The database is down.
pub async fn latest_heartbeat(conn: &mut PgConnection, kind: ProcessKind) -> sqlx::Result<Option<Heartbeat>> {
    sqlx::query_as!(
        Heartbeat,
        r#"select heartbeat_at, state = 'alive' and heartbeat_at > now() - interval '30 seconds' as "is_healthy!"
           from process where kind = $1 order by state = 'alive' desc, heartbeat_at desc limit 1"#,
        kind as ProcessKind
    )
    .fetch_optional(conn)
    .await
}

/// When a kind of process was heard last.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// When.
    pub heartbeat_at: DateTime<Utc>,
    /// Whether it is alive, by Airflow's threshold of 30 s.
    pub is_healthy: bool,
}

/// Forgets processes that ended long ago.
///
/// # Errors
/// The database is down.
pub async fn delete_ended(conn: &mut PgConnection, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from process p where state <> 'alive' and heartbeat_at < $1
         and not exists (select from task_instance where worker_id = p.process_id and state in ('running', 'restarting'))",
        before
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
