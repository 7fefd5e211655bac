//! `connection`: how to reach other systems, secrets sealed.

use sqlx::PgConnection;

/// A connection.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ConnectionRow {
    /// Its name.
    pub conn_id: String,
    /// What it leads to: `postgres`, `http`, ...
    pub conn_type: String,
    /// What it is for.
    pub description: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The user.
    pub login: Option<String>,
    /// The database, or whatever the other system calls it.
    pub schema: Option<String>,
    /// The port.
    pub port: Option<i32>,
    /// The password, sealed.
    pub sealed_password: Option<Vec<u8>>,
    /// What else is needed, as JSON, sealed.
    pub sealed_extra: Option<Vec<u8>>,
}

/// Every connection, or the one of that name, in the order of their names.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, conn_id: Option<&str>) -> sqlx::Result<Vec<ConnectionRow>> {
    sqlx::query_as!(
        ConnectionRow,
        "select conn_id, conn_type, description, host, login, schema, port, sealed_password, sealed_extra
         from connection where $1::text is null or conn_id = $1 order by conn_id",
        conn_id
    )
    .fetch_all(conn)
    .await
}

/// Makes a connection; false if there is one of that name.
///
/// # Errors
/// The database is down.
pub async fn insert_if_new(conn: &mut PgConnection, row: &ConnectionRow) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into connection (conn_id, conn_type, description, host, login, schema, port, sealed_password,
                                 sealed_extra)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
        row.conn_id,
        row.conn_type,
        row.description,
        row.host,
        row.login,
        row.schema,
        row.port,
        row.sealed_password,
        row.sealed_extra
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Changes a connection; false if there is none of that name.
///
/// # Errors
/// The database is down.
pub async fn update(conn: &mut PgConnection, row: &ConnectionRow) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update connection
         set conn_type = $2, description = $3, host = $4, login = $5, schema = $6, port = $7, sealed_password = $8,
             sealed_extra = $9, updated_at = now()
         where conn_id = $1",
        row.conn_id,
        row.conn_type,
        row.description,
        row.host,
        row.login,
        row.schema,
        row.port,
        row.sealed_password,
        row.sealed_extra
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a connection; false if there is none of that name.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, conn_id: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!("delete from connection where conn_id = $1", conn_id).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
