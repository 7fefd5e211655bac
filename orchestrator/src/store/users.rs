//! `app_user` and `dag_grant`: who there is, and what they may.

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

pub(super) struct Row {
    pub(super) user_id: UserId,
    pub(super) username: String,
    pub(super) role: String,
    pub(super) dags: Json<BTreeMap<DagId, Role>>,
    pub(super) password_set_at: DateTime<Utc>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) last_sign_in_at: Option<DateTime<Utc>>,
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
