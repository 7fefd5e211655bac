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
    let url = connection.database_url.as_deref().context(
        "no database: set STREAMCOMMERCE_DATABASE_URL or --database-url, \
         for example postgres://streamcommerce@127.0.0.1:5432/streamcommerce",
    )?;
    orchestrator::store::pool(url, CONNECTIONS).context("STREAMCOMMERCE_DATABASE_URL is not a URL of Postgres")
}
