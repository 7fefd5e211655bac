//! What the environment says, checked whole before anything starts.

use anyhow::Context;
use sqlx::PgPool;

use crate::arguments::ConnectionOptions;

/// Connections of one process: a settle, a heartbeat, the log writer, the scheduler, and pages beside them.
const CONNECTIONS: u32 = 16;

/// The database of this command.
///
/// # Errors
/// No URL is given, or it is not one of Postgres.
pub(crate) fn pool(connection: &ConnectionOptions) -> anyhow::Result<PgPool> {
    pool_of(connection, CONNECTIONS)
}

/// For a process that runs one body: a worker may have one for each of its slots.
///
/// # Errors
/// No database is named, or not by a URL of Postgres.
pub(crate) fn small_pool(connection: &ConnectionOptions) -> anyhow::Result<PgPool> {
    pool_of(connection, 2)
}

fn pool_of(connection: &ConnectionOptions, connections: u32) -> anyhow::Result<PgPool> {
    let url = connection.database_url.as_deref().context(
        "no database: set STREAMCOMMERCE_DATABASE_URL or --database-url, \
         for example postgres://streamcommerce@127.0.0.1:5432/streamcommerce",
    )?;
    orchestrator::store::pool(url, connections).context("STREAMCOMMERCE_DATABASE_URL is not a URL of Postgres")
}

/// The same database, surely not through `PgBouncer`; none if there is no such way to it.
///
/// # Errors
/// What is given is not a URL of Postgres.
pub(crate) fn direct_pool(connection: &ConnectionOptions, pool: &PgPool) -> anyhow::Result<Option<PgPool>> {
    match connection.direct_database_url.as_deref() {
        None => Ok(Some(pool.clone())),
        Some("none") => Ok(None),
        Some(url) => Some(orchestrator::store::pool(url, 1))
            .transpose()
            .context("STREAMCOMMERCE_DIRECT_DATABASE_URL is neither a URL of Postgres nor `none`"),
    }
}
