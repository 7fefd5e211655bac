//! `variable`: values by name, sealed.

use sqlx::PgConnection;

/// A variable.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct VariableRow {
    /// Its name.
    pub key: String,
    /// Its value, sealed.
    pub sealed: Vec<u8>,
    /// What it is for.
    pub description: Option<String>,
}

/// Every variable, or the one of that name, in the order of their names.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, key: Option<&str>) -> sqlx::Result<Vec<VariableRow>> {
    sqlx::query_as!(
        VariableRow,
        "select key, sealed, description from variable where $1::text is null or key = $1 order by key",
        key
    )
    .fetch_all(conn)
    .await
}

/// Makes a variable; false if there is one of that name.
///
/// # Errors
/// The database is down.
pub async fn insert_if_new(conn: &mut PgConnection, row: &VariableRow) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into variable (key, sealed, description) values ($1, $2, $3) on conflict do nothing",
        row.key,
        row.sealed,
        row.description
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Changes a variable; false if there is none of that name.
///
/// # Errors
/// The database is down.
pub async fn update(conn: &mut PgConnection, row: &VariableRow) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update variable set sealed = $2, description = $3, updated_at = now() where key = $1",
        row.key,
        row.sealed,
        row.description
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a variable; false if there is none of that name.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, key: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!("delete from variable where key = $1", key).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
