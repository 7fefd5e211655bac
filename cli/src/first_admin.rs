//! The first admin, where people sign in.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By, Refused},
    secrets::Keys,
    store::users,
};
use sqlx::{PgConnection, PgPool};

use crate::output;

/// What the first admin signs in with, where a setting says so.
const PASSWORD: &str = "STREAMCOMMERCE_ADMIN_PASSWORD";

const NAME: &str = "admin";

/// Makes one if there is none: with the password that is set, or on this machine with one that is told this one time.
///
/// # Errors
/// The server is reached from elsewhere, and has no key or nobody who could let others in.
pub(crate) async fn ensure(pool: &PgPool, keys: &Keys, bind: SocketAddr) -> anyhow::Result<()> {
    let is_here = bind.ip().is_loopback();
    if !is_here && keys.signing().is_empty() {
        bail!("{bind} is not on loopback: set STREAMCOMMERCE_SECRET_KEY (openssl rand -base64 32 makes one)");
    }
    let mut conn = pool.acquire().await?;
    if users::has_admin(&mut conn).await? {
        return Ok(());
    }
    let set = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()).map(Password::from);
    match set {
        Some(password) => {
            let unfit = || format!("cannot make the user {NAME} with {PASSWORD}");
            if make(&mut conn, &password).await.with_context(unfit)? {
                output::say(&format!("the user {NAME} was made, with the password that {PASSWORD} says"));
            }
        }
        None if is_here => {
            let password = Password::random();
            if make(&mut conn, &password).await? {
                output::say(&format!("the user {NAME} was made, with the password {}", password.reveal()));
            }
        }
        None => bail!(
            "{bind} is not on loopback, and there is no admin: set {PASSWORD}, or make one with streamcommerce users \
             create NAME --role admin. Where somebody else lets people in, set STREAMCOMMERCE_UNAUTHENTICATED=accept"
        ),
    }
    Ok(())
}

/// False: another web process that starts just now has made it, with a password of its own.
async fn make(conn: &mut PgConnection, password: &Password) -> anyhow::Result<bool> {
    match commands::create_user(conn, NAME, password, Role::Admin, &By::cli()).await {
        Err(Refused::UserExists(_)) if users::has_admin(conn).await? => Ok(false),
        made => Ok(made.map(|()| true)?),
    }
}
