//! The only SQL of the orchestrator's tables: one file a table, one named function a statement. Functions take a
//! connection, so that the caller owns the transaction. The statements are checked against the migrations when they
//! are compiled (`make sqlx` writes the offline cache `.sqlx/`).
//!
//! What happens under a run's lock is dated by `statement_timestamp()`: a transaction that waited for the lock began
//! before what it waited for, and by `now()` a task would start before its upstream had ended.

pub mod admission;
pub mod assets;
pub mod backfills;
pub mod connections;
pub mod dags;
pub mod due;
pub mod events;
pub mod expansion;
pub mod favorites;
pub mod figures;
pub mod instances;
pub mod logs;
pub mod nodes;
pub mod notifications;
pub mod outcomes;
pub mod overrides;
pub mod pages;
pub mod pools;
pub mod processes;
pub mod rechecks;
pub mod redeploy;
pub mod rescue;
pub mod retention;
pub mod run_dates;
pub mod run_locks;
pub mod run_states;
pub mod runs;
pub mod sign_ins;
pub mod signals;
pub mod slots;
pub mod streaming;
pub mod tokens;
pub mod users;
pub mod variables;
pub mod xcom;

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// The schema, embedded.
fn migrations() -> sqlx::migrate::Migrator {
    sqlx::migrate!("../migrations")
}

/// Who holds this advisory lock migrates.
const MIGRATION_LOCK: i64 = 0x5c_0de;

/// Between two tries to get it.
const MIGRATION_LOCK_POLL: Duration = Duration::from_millis(100);

/// How long to wait for a connection before the caller is told that the database is down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a pool of at most `connections`. Does not connect yet: a database that is down is found out, and waited for,
/// by whoever uses it.
///
/// # Errors
/// The URL is not one of Postgres.
pub fn pool(database_url: &str, connections: u32) -> sqlx::Result<PgPool> {
    let options = PgConnectOptions::from_str(database_url)?
        .application_name("streamcommerce")
        // `PgBouncer` refuses what it does not know, and numbers travel in binary.
        .extra_float_digits(None)
        .disable_statement_logging();
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    Ok(pool.after_connect(|conn, _| Box::pin(keep_memory(conn))).connect_lazy_with(options))
}

/// Half of the bytes of a statement that the backend of a connection keeps for the next one. A settle needs 2 MiB.
const MEMORY_KEPT: i32 = 4 << 20;

/// Makes the backend keep the memory of a statement for the next one. By itself glibc gives back what is free, and lets it be
/// faulted in anew, page by page: 0.4 ms of a hop, in one connection of twelve (it depends on what lies above it in the
/// heap). From one big piece that comes and goes it learns to keep twice as much.
async fn keep_memory(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query_scalar!("select length(repeat(' ', $1))", MEMORY_KEPT).fetch_one(conn).await.map(drop)
}

/// Brings the schema up to date, and makes the partitions of the next days.
///
/// # Errors
/// The database is down, or a migration fails.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    // Closed at the end, and the lock with it. Not a statement that waits: an index that is built concurrently would wait
    // for that in turn.
    let mut conn = pool.acquire().await?.detach();
    while !sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "held!""#, MIGRATION_LOCK)
        .fetch_one(&mut conn)
        .await?
    {
        tokio::time::sleep(MIGRATION_LOCK_POLL).await;
    }
    migrations().set_locking(false).run(&mut conn).await?;
    ensure_partitions(&mut conn).await?;
    conn.close().await?;
    Ok(())
}

/// The database's clock: the only one that decides.
///
/// # Errors
/// The database is down.
pub async fn now(conn: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(conn).await
}

/// Makes the partitions of yesterday to the day after tomorrow, so that a scheduler may be away for two days before
/// rows go to the default partitions.
///
/// # Errors
/// The database is down.
pub async fn ensure_partitions(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select ensure_partitions(current_date - 1, current_date + 2)").execute(conn).await?;
    Ok(())
}

/// Whether the values of the statement are at fault, so that trying again cannot help: data exceptions, violated
/// constraints, limits of the program, or a value that cannot be sent at all.
#[must_use]
pub fn is_about_data(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        }
        _ => false,
    }
}

/// What the database answers, if that comes in time. A host that vanishes without a word never answers, and the kernel gives
/// up after a quarter of an hour, or not at all. What is given up here drops its connection.
///
/// # Errors
/// Those of the work, or it took too long.
pub(crate) async fn in_time<T>(patience: Duration, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {patience:?}"));
        Err(sqlx::Error::Io(late).into())
    })
}

/// Whether the same statement may well succeed in a moment: the connection broke, the server restarts, or two
/// transactions were in each other's way.
#[must_use]
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Tls(_) => true,
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Connection exceptions, rollbacks, operator intervention, too many connections.
            ["08", "40", "57P", "53"].iter().any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}
