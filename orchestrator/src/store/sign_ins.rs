//! `sign_in_failure`: who has tried in vain to sign in, and from where.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::UserId;

/// How often somebody has tried in vain, and when last.
#[derive(Clone, Copy, Debug)]
pub struct Failures {
    /// How often.
    pub failures: i32,
    /// When last.
    pub last_at: DateTime<Utc>,
}

/// How often a name was tried in vain from an address. Whoever tries now waits until it is counted.
///
/// # Errors
/// The database is down.
pub async fn lock_of_name(conn: &mut PgConnection, name: &str, from: &str) -> sqlx::Result<Failures> {
    // Where there is no row, there is nothing to wait for.
    sqlx::query!(
        "insert into sign_in_failure (username, from_address, failures) values ($1, $2, 0) on conflict do nothing",
        name,
        from
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_as!(
        Failures,
        "select failures, last_at from sign_in_failure where username = $1 and from_address = $2 for update",
        name,
        from
    )
    .fetch_one(conn)
    .await
}

/// How often anybody has tried in vain from an address. Whoever else tries from there waits until it is counted.
///
/// # Errors
/// The database is down.
pub async fn lock_of_address(conn: &mut PgConnection, from: &str) -> sqlx::Result<Failures> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('sign_in ' || $1, 0))", from)
        .execute(&mut *conn)
        .await?;
    sqlx::query_as!(
        Failures,
        r#"select coalesce(sum(failures), 0)::int as "failures!", coalesce(max(last_at), now()) as "last_at!"
           from sign_in_failure where from_address = $1 and failures > 0"#,
        from
    )
    .fetch_one(conn)
    .await
}

/// Counts a try, before it is known whether it is in vain. Hold the lock; what is older than an hour is forgotten.
///
/// # Errors
/// The database is down.
pub async fn count_try(conn: &mut PgConnection, name: &str, from: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update sign_in_failure set failures = failures + 1, last_at = now()
         where username = $1 and from_address = $2",
        name,
        from
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "delete from sign_in_failure where last_at < now() - interval '1 hour'
         and ctid = any(array(select ctid from sign_in_failure where last_at < now() - interval '1 hour'
                              for update skip locked))"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down that somebody has signed in; what they tried in vain is forgotten.
///
/// # Errors
/// The database is down.
pub async fn succeeded(conn: &mut PgConnection, user: UserId, name: &str, from: &str) -> sqlx::Result<()> {
    sqlx::query!("update app_user set last_sign_in_at = now() where user_id = $1", user.0).execute(&mut *conn).await?;
    sqlx::query!("delete from sign_in_failure where username = $1 and from_address = $2", name, from)
        .execute(conn)
        .await?;
    Ok(())
}
