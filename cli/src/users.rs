//! `users`: whoever may run this on the database needs no password for it.

use std::{io::Read, time::Duration};

use anyhow::{Context as _, bail};
use orchestrator::{
    accounts::Password,
    commands::{self, By},
    ids::DagId,
    store::users,
};
use serde_json::{Value, json};

use crate::{
    Exit,
    api::{Api, Verb, part},
    arguments::{OutputFormat, PasswordOptions, UsersCommand},
    output::{self, say},
};

const COLUMNS: [(&str, &str); 5] = [
    ("username", "username"),
    ("role", "role"),
    ("dags", "dags"),
    ("created", "created_at"),
    ("signed in", "last_sign_in_at"),
];

const OF_TOKENS: [(&str, &str); 5] =
    [("id", "id"), ("name", "name"), ("created", "created_at"), ("used", "last_used_at"), ("expires", "expires_at")];

pub(crate) async fn dispatch(api: &Api, command: UsersCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        UsersCommand::List => {
            let users = api.get("/api/users").await?;
            output::rows(format, &COLUMNS, users["users"].as_array().map_or(&[], Vec::as_slice))?;
        }
        UsersCommand::Create { username, role, password } => {
            let (password, told) = read(&password)?;
            let user = json!({ "username": username, "password": password.reveal(), "role": role });
            api.send(Verb::Post, "/api/users", Some(user)).await?;
            say(&format!("{username} is a {role}{told}"));
        }
        UsersCommand::ResetPassword { username, password } => {
            let (password, told) = read(&password)?;
            change(api, &username, json!({ "password": password.reveal() })).await?;
            say(&format!("{username} has another password{told}"));
        }
        UsersCommand::SetRole { username, role } => {
            change(api, &username, json!({ "role": role })).await?;
            say(&format!("{username} is a {role}"));
        }
        UsersCommand::Grant { username, dag_id, role } => {
            let grant = json!({ "role": role });
            api.send(Verb::Put, &of_dag(&username, &dag_id), Some(grant)).await?;
            say(&format!("{username} is a {role} of {dag_id}"));
        }
        UsersCommand::Revoke { username, dag_id } => {
            api.send(Verb::Delete, &of_dag(&username, &dag_id), None).await?;
            say(&format!("{username} has nothing granted of {dag_id} any more"));
        }
        UsersCommand::Delete { username } => {
            api.send(Verb::Delete, &format!("/api/users/{}", part(&username)), None).await?;
            say(&format!("{username} is deleted"));
        }
        UsersCommand::Tokens { username } => {
            let tokens = api.get(&format!("/api/users/{}/tokens", part(&username))).await?;
            output::rows(format, &OF_TOKENS, tokens["tokens"].as_array().map_or(&[], Vec::as_slice))?;
        }
        UsersCommand::RevokeToken { username, id } => {
            api.send(Verb::Delete, &format!("/api/users/{}/tokens/{id}", part(&username)), None).await?;
            say(&format!("the token {id} of {username} is good for nothing any more"));
        }
        UsersCommand::Token { username, name, days } => say(&token(api, &username, &name, days).await?),
    }
    Ok(Exit::Done)
}

fn of_dag(username: &str, dag: &DagId) -> String {
    format!("/api/users/{}/dags/{}", part(username), part(dag.as_str()))
}

async fn change(api: &Api, username: &str, what: Value) -> anyhow::Result<Value> {
    api.send(Verb::Patch, &format!("/api/users/{}", part(username)), Some(what)).await
}

/// On the database for anybody; a server gives its users tokens of their own only.
async fn token(api: &Api, username: &str, name: &str, days: u32) -> anyhow::Result<String> {
    let Api::Here { pool, .. } = api else {
        bail!("a server makes tokens only for who asks (POST /api/tokens): run this without --url, on the database");
    };
    let mut conn = pool.acquire().await?;
    let user = users::list(&mut conn, Some(username)).await?.pop();
    let user = user.with_context(|| format!("there is no user {username}"))?;
    let length = Duration::from_secs(u64::from(days) * 86_400);
    let token = commands::create_token(&mut conn, &user, name, length, &By::cli()).await?;
    Ok(token.reveal().to_owned())
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
