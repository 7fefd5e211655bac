//! `app_token`: what stands for a user, sessions of browsers and named tokens of programs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::users::{Row, UserRow};
use crate::{
    accounts::Role,
    ids::{DagId, UserId},
};

/// Keeps a token; without a name it is the session of a browser. False if the user has one of that name.
///
/// # Errors
/// The database is down.
pub async fn insert(
    conn: &mut PgConnection,
    user: UserId,
    hash: &[u8],
    name: Option<&str>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query!("delete from app_token where expires_at < now()").execute(&mut *conn).await?;
    let done = sqlx::query!(
        "insert into app_token (token_hash, user_id, name, expires_at) values ($1, $2, $3, $4) on conflict do nothing",
        hash,
        user.0,
        name,
        expires_at
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Whose token it is, if it has not expired. That it was used is written down once a minute at most.
///
/// # Errors
/// The database is down.
pub async fn user_of(conn: &mut PgConnection, hash: &[u8]) -> sqlx::Result<Option<UserRow>> {
    let row = sqlx::query_as!(
        Row,
        r#"with used as (
               update app_token set last_used_at = now()
               where token_hash = $1 and expires_at > now()
                 and (last_used_at is null or last_used_at < now() - interval '1 minute'))
           select u.user_id as "user_id: UserId", u.username, u.role, u.password_set_at, u.created_at,
                  u.last_sign_in_at,
                  coalesce((select jsonb_object_agg(g.dag_id, g.role) from dag_grant g where g.user_id = u.user_id), '{}')
                      as "dags!: Json<BTreeMap<DagId, Role>>"
           from app_token t join app_user u using (user_id) where t.token_hash = $1 and t.expires_at > now()"#,
        hash
    );
    Ok(row.fetch_optional(conn).await?.map(UserRow::from))
}

/// A token that a user has named.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// Its number.
    pub token_id: i64,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it is over.
    pub expires_at: DateTime<Utc>,
}

/// The named tokens of a user.
///
/// # Errors
/// The database is down.
pub async fn of_user(conn: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<TokenRow>> {
    sqlx::query_as!(
        TokenRow,
        r#"select token_id, name as "name!", created_at, last_used_at, expires_at from app_token
           where user_id = $1 and name is not null order by token_id"#,
        user.0
    )
    .fetch_all(conn)
    .await
}

/// Takes a named token of a user away; says how it was called.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, user: UserId, token_id: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"delete from app_token where user_id = $1 and token_id = $2 and name is not null returning name as "name!""#,
        user.0,
        token_id
    )
    .fetch_optional(conn)
    .await
}

/// Ends a session.
///
/// # Errors
/// The database is down.
pub async fn end_session(conn: &mut PgConnection, hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("delete from app_token where token_hash = $1 and name is null", hash).execute(conn).await?;
    Ok(())
}
