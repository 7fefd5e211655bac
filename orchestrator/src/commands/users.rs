//! Users: made, changed, deleted; their tokens.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{By, Refused};
use crate::{
    accounts::{Password, Role, Token},
    ids::DagId,
    store::{
        self, dags, events, tokens,
        users::{self, UserRow},
    },
};

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

pub(super) fn check_name(name: &str) -> Result<(), Refused> {
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

pub(super) async fn keep_an_admin(tx: &mut PgConnection, name: &str) -> Result<(), Refused> {
    match users::lock_admins(tx).await?.as_slice() {
        [last] if last == name => Err(Refused::LastAdmin(name.to_owned())),
        _ => Ok(()),
    }
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
    if !tokens::insert(&mut tx, user.user_id, &token.hash(), Some(name), expires_at).await? {
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
    let Some(name) = tokens::delete(&mut tx, user.user_id, token_id).await? else {
        return Err(Refused::NoToken(token_id));
    };
    write_down(&mut tx, "revoke_token", by, json!({ "username": user.username, "name": name })).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn write_down(tx: &mut PgConnection, event: &str, by: &By, extra: Value) -> sqlx::Result<()> {
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
