//! `users`: whoever may run this on the database needs no password for it.

use std::{io::Read, time::Duration};

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By},
    store::users,
};
use serde::Serialize;

use crate::{
    Exit,
    arguments::{ConnectionOptions, OutputFormat, PasswordOptions, UsersCommand},
    output::{self, say},
    settings,
};

#[derive(Serialize)]
struct Row {
    username: String,
    role: Role,
    created_at: DateTime<Utc>,
    last_sign_in_at: Option<DateTime<Utc>>,
}

pub(crate) async fn dispatch(
    connection: &ConnectionOptions,
    command: UsersCommand,
    format: OutputFormat,
) -> anyhow::Result<Exit> {
    let pool = settings::pool(connection)?;
    let mut conn = pool.acquire().await?;
    match command {
        UsersCommand::List => {
            let rows = users::list(&mut conn, None).await?.into_iter().map(|user| Row {
                username: user.username,
                role: user.role,
                created_at: user.created_at,
                last_sign_in_at: user.last_sign_in_at,
            });
            let rows: Vec<_> = rows.collect();
            let at = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
            output::list(format, &["username", "role", "created", "signed in"], &rows, |row| {
                let last = row.last_sign_in_at.map_or_else(|| "-".to_owned(), at);
                vec![row.username.clone(), row.role.to_string(), at(row.created_at), last]
            })?;
        }
        UsersCommand::Create { username, role, password } => {
            let (password, told) = read(&password)?;
            commands::create_user(&mut conn, &username, &password, role, &By::cli()).await?;
            say(&format!("{username} is a {role}{told}"));
        }
        UsersCommand::ResetPassword { username, password } => {
            let (password, told) = read(&password)?;
            commands::set_password(&mut conn, &username, &password, &By::cli()).await?;
            say(&format!("{username} has another password{told}"));
        }
        UsersCommand::SetRole { username, role } => {
            commands::set_role(&mut conn, &username, role, &By::cli()).await?;
            say(&format!("{username} is a {role}"));
        }
        UsersCommand::Delete { username } => {
            commands::delete_user(&mut conn, &username, &By::cli()).await?;
            say(&format!("{username} is deleted"));
        }
        UsersCommand::Token { username, name, days } => {
            let user = users::list(&mut conn, Some(&username)).await?.pop();
            let user = user.with_context(|| format!("there is no user {username}"))?;
            let length = Duration::from_secs(u64::from(days) * 86_400);
            let token = commands::create_token(&mut conn, &user, &name, length, &By::cli()).await?;
            say(token.reveal());
        }
    }
    Ok(Exit::Done)
}

/// The password, and what is to be told of it: one that was made here is shown once.
fn read(options: &PasswordOptions) -> anyhow::Result<(Password, String)> {
    if !options.password_stdin {
        let made = Password::random();
        let told = format!("; the password is {}", made.reveal());
        return Ok((made, told));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read the password")?;
    Ok((Password::from(text.trim_end_matches(['\n', '\r']).to_owned()), String::new()))
}
