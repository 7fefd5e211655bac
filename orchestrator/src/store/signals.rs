//! `signal`: that something has happened, and who waits for it.

use serde_json::Value;
use sqlx::PgConnection;

/// Holds signals until the transaction ends: who begins to wait for one and who posts it must see each other.
///
/// # Errors
/// The database is down.
pub async fn hold(conn: &mut PgConnection, keys: impl Iterator<Item = &str>) -> sqlx::Result<()> {
    // In the same order everywhere.
    let keys: std::collections::BTreeSet<_> = keys.collect();
    for key in keys {
        sqlx::query!("select pg_advisory_xact_lock(hashtextextended('signal:' || $1, 0))", key)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Keeps a signal; the last one posted under a key counts. [Hold](hold) it first.
///
/// # Errors
/// The database is down.
pub async fn post(conn: &mut PgConnection, key: &str, payload: &Value) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into signal (key, payload) values ($1, $2)
         on conflict (key) do update set payload = excluded.payload, posted_at = now()",
        key,
        payload
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets those go on that wait for a signal; says how many.
///
/// # Errors
/// The database is down.
pub async fn wake(conn: &mut PgConnection, key: &str) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "with waiting as materialized (
             -- In the order in which everybody locks task instances.
             select instance_key from task_instance where state = 'deferred' and awaits is not null and awaits = $1
             order by instance_key for no key update
         )
         update task_instance t set due_at = statement_timestamp() from waiting w where t.instance_key = w.instance_key",
        key
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What was posted under a key.
///
/// # Errors
/// The database is down.
pub async fn get(conn: &mut PgConnection, key: &str) -> sqlx::Result<Option<Value>> {
    sqlx::query_scalar!("select payload from signal where key = $1", key).fetch_optional(conn).await
}

/// Forgets a signal; false if there was none.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, key: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!("delete from signal where key = $1", key).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
