//! Users: made, changed, deleted; signing in; tokens.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Semaphore;

use super::{By, Refused};
use crate::{
    accounts::{Identity, Password, PasswordHash, Role, Token},
    ids::DagId,
    store::{
        self, dags, events,
        users::{self, Failures, UserRow},
    },
};

/// So many wrong passwords in a row cost nothing.
const FREE_FAILURES: i32 = 5;

/// So many passwords are compared at once: each takes a core and 19 MiB.
static HASHES: Semaphore = Semaphore::const_new(2);

/// So many sign in at once: each has a connection while it waits for those who try the same name.
static TRIES: Semaphore = Semaphore::const_new(4);

/// The longest that somebody waits after a wrong password.
const WAIT_MAX: Duration = Duration::from_secs(900);

/// What somebody can be with one DAG.
pub const GRANTABLE: [Role; 2] = [Role::Viewer, Role::User];

/// The shortest password that somebody may choose.
const PASSWORD_MIN: usize = 8;

/// Makes a user.
///
/// # Errors
/// [`Refused`].
pub async fn create_user(
    conn: &mut PgConnection,
    name: &str,
    password: &Password,
    role: Role,
    by: &By,
) -> Result<(), Refused> {
    check_name(name)?;
    check(password)?;
    let mut tx = conn.begin().await?;
    if !users::insert(&mut tx, name, &password.hash(), role).await? {
        return Err(Refused::UserExists(name.to_owned()));
    }
    write_down(&mut tx, "create_user", by, json!({ "username": name, "role": role })).await?;
    tx.commit().await?;
    Ok(())
}

fn check_name(name: &str) -> Result<(), Refused> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '+');
    match name.is_empty() || name.len() > 250 || !name.chars().all(allowed) {
        true => Err(Refused::Invalid(format!("{name:?} cannot be the name of a user: letters, digits and _.-@+"))),
        false => Ok(()),
    }
}

fn check(password: &Password) -> Result<(), Refused> {
    match password.reveal().len() < PASSWORD_MIN {
        true => Err(Refused::Invalid(format!("a password has at least {PASSWORD_MIN} bytes"))),
        false => Ok(()),
    }
}

/// Changes a password; all that stood for the user ends.
///
/// # Errors
/// [`Refused`].
pub async fn set_password(conn: &mut PgConnection, name: &str, new: &Password, by: &By) -> Result<(), Refused> {
    check(new)?;
    let mut tx = conn.begin().await?;
    if !users::set_password(&mut tx, name, &new.hash()).await? {
        return Err(Refused::NoUser(name.to_owned()));
    }
    write_down(&mut tx, "reset_password", by, json!({ "username": name })).await?;
    tx.commit().await?;
    Ok(())
}

/// Changes what a user may do.
///
/// # Errors
/// [`Refused`]; the last admin stays one.
pub async fn set_role(conn: &mut PgConnection, name: &str, role: Role, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    if role != Role::Admin {
        keep_an_admin(&mut tx, name).await?;
    }
    if !users::set_role(&mut tx, name, role).await? {
        return Err(Refused::NoUser(name.to_owned()));
    }
    write_down(&mut tx, "set_role", by, json!({ "username": name, "role": role })).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets a user do something with one DAG, whatever their role lets them do with all.
///
/// # Errors
/// [`Refused`]; a DAG can be looked at or worked on (`viewer` or `user`): there is nothing in it for the others.
pub async fn grant_dag(conn: &mut PgConnection, name: &str, dag: &DagId, role: Role, by: &By) -> Result<(), Refused> {
    if !GRANTABLE.contains(&role) {
        return Err(Refused::Invalid(format!("with one DAG somebody can be a viewer or a user, and not {role}")));
    }
    let mut tx = conn.begin().await?;
    if dags::current_version(&mut tx, dag).await?.is_none() {
        return Err(Refused::NoDag(dag.clone()));
    }
    if !users::grant(&mut tx, name, dag, role).await? {
        return Err(Refused::NoUser(name.to_owned()));
    }
    write_down_of(&mut tx, "grant_dag", Some(dag), by, json!({ "username": name, "role": role })).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes back what a user might do with one DAG. The DAG may be gone.
///
/// # Errors
/// [`Refused`].
pub async fn revoke_dag(conn: &mut PgConnection, name: &str, dag: &DagId, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    if !users::revoke_grant(&mut tx, name, dag).await? {
        return Err(Refused::NoGrant { user: name.to_owned(), dag: dag.clone() });
    }
    write_down_of(&mut tx, "revoke_dag", Some(dag), by, json!({ "username": name })).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes a user.
///
/// # Errors
/// [`Refused`]; the last admin stays.
pub async fn delete_user(conn: &mut PgConnection, name: &str, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    keep_an_admin(&mut tx, name).await?;
    if !users::delete(&mut tx, name).await? {
        return Err(Refused::NoUser(name.to_owned()));
    }
    write_down(&mut tx, "delete_user", by, json!({ "username": name })).await?;
    tx.commit().await?;
    Ok(())
}

async fn keep_an_admin(tx: &mut PgConnection, name: &str) -> Result<(), Refused> {
    match users::lock_admins(tx).await?.as_slice() {
        [last] if last == name => Err(Refused::LastAdmin(name.to_owned())),
        _ => Ok(()),
    }
}

/// How long somebody who has failed so often must wait.
#[must_use]
pub fn wait_after(failures: Failures, now: DateTime<Utc>) -> Option<Duration> {
    let beyond = u32::try_from(failures.failures - FREE_FAILURES).ok()?;
    let wait = Duration::from_secs(1 << beyond.min(10)).min(WAIT_MAX);
    let over = failures.last_at + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    (over - now).to_std().ok().filter(|left| !left.is_zero())
}

/// Why somebody may not come in.
#[derive(Debug, thiserror::Error)]
pub enum NotSignedIn {
    /// The name or the password is wrong: which of them is not told.
    #[error("Invalid credentials")]
    Wrong,
    /// It was wrong too often.
    #[error("too many wrong passwords: try again in {} s", .0.as_secs() + 1)]
    TooOften(Duration),
    /// The database, or what it holds, failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<sqlx::Error> for NotSignedIn {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Who has that name and that password. Whoever guesses waits, longer each time: a try is counted before it is looked at,
/// so that many at once are as many.
///
/// # Errors
/// [`NotSignedIn`].
pub async fn sign_in(pool: &PgPool, name: &str, password: Password, by: &By) -> Result<UserRow, NotSignedIn> {
    let from = by.from.map(|address| address.to_string()).unwrap_or_default();
    let _turn = TRIES.acquire().await.map_err(anyhow::Error::from)?;
    let kept = begin_try(pool, name, &from).await?;
    let is_known = kept.is_some();
    // Without a connection: it takes a core for a while, and others may stand in line for one.
    let is_right = {
        let _turn = HASHES.acquire().await.map_err(anyhow::Error::from)?;
        let compared = tokio::task::spawn_blocking(move || password.is_of(kept.as_ref()));
        compared.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?
    };
    let mut tx = pool.begin().await?;
    let user = users::list(&mut tx, Some(name)).await?.pop().filter(|_| is_right);
    let Some(user) = user else {
        // A name that nobody has may be a password in the wrong field.
        let extra = if is_known { json!({ "username": name }) } else { json!({}) };
        write_down(&mut tx, "sign_in_failed", by, extra).await?;
        tx.commit().await?;
        return Err(NotSignedIn::Wrong);
    };
    users::signed_in(&mut tx, user.user_id, name, &from).await?;
    let by = By { user: Some(user.username.clone()), ..by.clone() };
    write_down(&mut tx, "sign_in", &by, json!({})).await?;
    tx.commit().await?;
    Ok(user)
}

/// The user who a provider says it is, made if it is new: `public` until somebody says more. A role that the provider says
/// counts from the next time somebody signs in; the last admin stays one.
///
/// # Errors
/// [`Refused`]; a user of that name who has a password is somebody else.
pub async fn sign_in_as(conn: &mut PgConnection, identity: &Identity, by: &By) -> Result<UserRow, Refused> {
    let mut tx = conn.begin().await?;
    let name = match users::name_of_identity(&mut tx, &identity.id).await? {
        Some(name) => name,
        None => {
            let role = identity.role.unwrap_or(Role::Public);
            let fit = identity.names.iter().find(|name| check_name(name).is_ok());
            let name = fit.ok_or_else(|| {
                Refused::Invalid(format!(
                    "none of {:?} can be the name of a user: letters, digits and _.-@+",
                    identity.names
                ))
            })?;
            if !users::insert_identity(&mut tx, name, &identity.id, role).await? {
                return Err(Refused::UserExists(name.clone()));
            }
            write_down(&mut tx, "create_user", by, json!({ "username": name, "role": role })).await?;
            name.clone()
        }
    };
    let gone = || Refused::NoUser(name.clone());
    let mut user = users::list(&mut tx, Some(&name)).await?.pop().ok_or_else(gone)?;
    if let Some(role) = identity.role.filter(|role| *role != user.role)
        && (role == Role::Admin || keep_an_admin(&mut tx, &name).await.is_ok())
    {
        users::set_role(&mut tx, &name, role).await?;
        write_down(&mut tx, "set_role", by, json!({ "username": name, "role": role })).await?;
        user.role = role;
    }
    let from = by.from.map(|address| address.to_string()).unwrap_or_default();
    users::signed_in(&mut tx, user.user_id, &name, &from).await?;
    let by = By { user: Some(name), ..by.clone() };
    write_down(&mut tx, "sign_in", &by, json!({})).await?;
    tx.commit().await?;
    Ok(user)
}

async fn begin_try(pool: &PgPool, name: &str, from: &str) -> Result<Option<PasswordHash>, NotSignedIn> {
    let mut tx = pool.begin().await?;
    let now = store::now(&mut tx).await?;
    if let Some(left) = wait_after(users::lock_failures(&mut tx, name, from).await?, now) {
        return Err(NotSignedIn::TooOften(left));
    }
    users::count_try(&mut tx, name, from).await?;
    let kept = users::password_hash(&mut tx, name).await?;
    tx.commit().await?;
    Ok(kept)
}

/// Makes a token that a user can hand to a program.
///
/// # Errors
/// [`Refused`].
pub async fn create_token(
    conn: &mut PgConnection,
    user: &UserRow,
    name: &str,
    length: Duration,
    by: &By,
) -> Result<Token, Refused> {
    if name.is_empty() || name.len() > 250 {
        return Err(Refused::Invalid("the name of a token has 1 to 250 bytes".to_owned()));
    }
    let token = Token::random();
    let mut tx = conn.begin().await?;
    let expires_at = store::now(&mut tx).await? + TimeDelta::from_std(length).unwrap_or(TimeDelta::days(365));
    if !users::insert_token(&mut tx, user.user_id, &token.hash(), Some(name), expires_at).await? {
        return Err(Refused::Invalid(format!("{} has a token {name:?} already", user.username)));
    }
    write_down(&mut tx, "create_token", by, json!({ "username": user.username, "name": name })).await?;
    tx.commit().await?;
    Ok(token)
}

/// Takes a token away.
///
/// # Errors
/// [`Refused`].
pub async fn revoke_token(conn: &mut PgConnection, user: &UserRow, token_id: i64, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    let Some(name) = users::delete_token(&mut tx, user.user_id, token_id).await? else {
        return Err(Refused::NoToken(token_id));
    };
    write_down(&mut tx, "revoke_token", by, json!({ "username": user.username, "name": name })).await?;
    tx.commit().await?;
    Ok(())
}

async fn write_down(tx: &mut PgConnection, event: &str, by: &By, extra: Value) -> sqlx::Result<()> {
    write_down_of(tx, event, None, by, extra).await
}

async fn write_down_of(
    tx: &mut PgConnection,
    event: &str,
    dag_id: Option<&DagId>,
    by: &By,
    extra: Value,
) -> sqlx::Result<()> {
    events::append(tx, &events::Event { event, dag_id, run_id: None, by, extra }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_guesses_waits_longer_each_time() {
        let at = DateTime::<Utc>::UNIX_EPOCH;
        let wait = |failures| wait_after(Failures { failures, last_at: at }, at).map(|wait| wait.as_secs());
        assert_eq!(
            [0, 4, 5, 6, 8, 20, i32::MAX].map(wait),
            [None, None, Some(1), Some(2), Some(8), Some(900), Some(900)]
        );
        let later = at + TimeDelta::seconds(1);
        assert_eq!(wait_after(Failures { failures: 5, last_at: at }, later), None);
    }
}
