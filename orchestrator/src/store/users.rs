//! `app_user`, `dag_grant`, `app_token` and `sign_in_failure`: who there is, what they may, what stands for them, and who has
//! tried in vain.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use crate::{
    accounts::{PasswordHash, Role},
    ids::{DagId, UserId},
};

/// A user.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// The database's key.
    pub user_id: UserId,
    /// What they sign in with.
    pub username: String,
    /// What they may do.
    pub role: Role,
    /// What they may do with single DAGs.
    pub dags: BTreeMap<DagId, Role>,
    /// Since when they have their password.
    pub password_set_at: DateTime<Utc>,
    /// When they were made.
    pub created_at: DateTime<Utc>,
    /// When they signed in last.
    pub last_sign_in_at: Option<DateTime<Utc>>,
}

struct Row {
    user_id: UserId,
    username: String,
    role: String,
    dags: Json<BTreeMap<DagId, Role>>,
    password_set_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    last_sign_in_at: Option<DateTime<Utc>>,
}

impl From<Row> for UserRow {
    fn from(row: Row) -> Self {
        let Row { user_id, username, role, dags, password_set_at, created_at, last_sign_in_at } = row;
        // The table holds no other; the weakest is what a stronger one of a later version would be here.
        Self {
            user_id,
            username,
            role: role.parse().unwrap_or(Role::Public),
            dags: dags.0,
            password_set_at,
            created_at,
            last_sign_in_at,
        }
    }
}

/// Makes a user; false if there is one of that name.
///
/// # Errors
/// The database is down.
pub async fn insert(conn: &mut PgConnection, name: &str, hash: &PasswordHash, role: Role) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into app_user (username, password_hash, role) values ($1, $2, $3) on conflict do nothing",
        name,
        hash.as_str(),
        role.as_str()
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Users by name; of one name, or all.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, name: Option<&str>) -> sqlx::Result<Vec<UserRow>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select user_id as "user_id: UserId", username, role, password_set_at, created_at,
                  last_sign_in_at,
                  coalesce((select jsonb_object_agg(g.dag_id, g.role) from dag_grant g where g.user_id = app_user.user_id), '{}')
                      as "dags!: Json<BTreeMap<DagId, Role>>"
           from app_user where $1::text is null or username = $1 order by username"#,
        name
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(UserRow::from).collect())
}

/// What is kept of a user's password.
///
/// # Errors
/// The database is down.
pub async fn password_hash(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<PasswordHash>> {
    let hash = sqlx::query_scalar!("select password_hash from app_user where username = $1", name);
    Ok(hash.fetch_optional(conn).await?.flatten().map(PasswordHash::from))
}

/// What somebody whom a provider knows is called here.
///
/// # Errors
/// The database is down.
pub async fn name_of_identity(conn: &mut PgConnection, identity: &str) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("select username from app_user where identity = $1", identity).fetch_optional(conn).await
}

/// Makes a user whom a provider knows; false if there is one of that name, or of that identity.
///
/// # Errors
/// The database is down.
pub async fn insert_identity(conn: &mut PgConnection, name: &str, identity: &str, role: Role) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into app_user (username, identity, role) values ($1, $2, $3) on conflict do nothing",
        name,
        identity,
        role.as_str()
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Changes a password, and takes away all that stood for the user; false if there is none.
///
/// # Errors
/// The database is down.
pub async fn set_password(conn: &mut PgConnection, name: &str, hash: &PasswordHash) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "with changed as (update app_user set password_hash = $2, password_set_at = now() where username = $1 returning user_id),
              gone as (delete from app_token using changed where app_token.user_id = changed.user_id)
         select user_id from changed",
        name,
        hash.as_str()
    );
    Ok(done.fetch_optional(conn).await?.is_some())
}

/// Changes a role; false if there is no such user.
///
/// # Errors
/// The database is down.
pub async fn set_role(conn: &mut PgConnection, name: &str, role: Role) -> sqlx::Result<bool> {
    let done = sqlx::query!("update app_user set role = $2 where username = $1", name, role.as_str());
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Lets a user do something with a DAG; false if there is no such user.
///
/// # Errors
/// The database is down.
pub async fn grant(conn: &mut PgConnection, name: &str, dag: &DagId, role: Role) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into dag_grant (user_id, dag_id, role) select user_id, $2, $3 from app_user where username = $1
         on conflict (user_id, dag_id) do update set role = excluded.role",
        name,
        dag.as_str(),
        role.as_str()
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Takes back what a user might do with a DAG; false if it was nothing.
///
/// # Errors
/// The database is down.
pub async fn revoke_grant(conn: &mut PgConnection, name: &str, dag: &DagId) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "delete from dag_grant using app_user u where u.user_id = dag_grant.user_id and u.username = $1 and dag_id = $2",
        name,
        dag.as_str()
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Deletes a user with all that stood for them; false if there is none.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "with favorites as (delete from dag_favorite where user_name = $1) delete from app_user where username = $1",
        name
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Locks the users against each other's change: how many admins there are must not change meanwhile.
///
/// # Errors
/// The database is down.
pub async fn lock_admins(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("select username from app_user where role = 'admin' order by user_id for update")
        .fetch_all(conn)
        .await
}

/// Whether there is an admin.
///
/// # Errors
/// The database is down.
pub async fn has_admin(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select from app_user where role = 'admin') as "has!""#).fetch_one(conn).await
}

/// Writes down that somebody has signed in.
///
/// # Errors
/// The database is down.
pub async fn signed_in(conn: &mut PgConnection, user: UserId, name: &str, from: &str) -> sqlx::Result<()> {
    sqlx::query!("update app_user set last_sign_in_at = now() where user_id = $1", user.0).execute(&mut *conn).await?;
    sqlx::query!("delete from sign_in_failure where username = $1 and from_address = $2", name, from)
        .execute(conn)
        .await?;
    Ok(())
}

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
pub async fn lock_failures(conn: &mut PgConnection, name: &str, from: &str) -> sqlx::Result<Failures> {
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
pub async fn lock_failures_from(conn: &mut PgConnection, from: &str) -> sqlx::Result<Failures> {
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

/// Keeps a token; without a name it is the session of a browser. False if the user has one of that name.
///
/// # Errors
/// The database is down.
pub async fn insert_token(
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
pub async fn of_token(conn: &mut PgConnection, hash: &[u8]) -> sqlx::Result<Option<UserRow>> {
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
pub async fn tokens(conn: &mut PgConnection, user: UserId) -> sqlx::Result<Vec<TokenRow>> {
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
pub async fn delete_token(conn: &mut PgConnection, user: UserId, token_id: i64) -> sqlx::Result<Option<String>> {
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
pub async fn delete_session(conn: &mut PgConnection, hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("delete from app_token where token_hash = $1 and name is null", hash).execute(conn).await?;
    Ok(())
}
