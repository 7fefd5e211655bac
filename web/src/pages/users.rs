//! The users: for admins.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By, GRANTABLE},
    ids::DagId,
    store::users::{self, UserRow},
};
use serde::Deserialize;

use super::{
    links,
    page::{Frame, Page, PageError, PageResult},
    told::{self, Deed},
    words,
};
use crate::App;

#[derive(Template)]
#[template(path = "users.html")]
pub(crate) struct UsersPage {
    users: Vec<UserRow>,
    /// Somebody's new password, shown this one time.
    told: Option<(String, String)>,
}

impl Frame for UsersPage {
    const SECTION: &'static str = "users";
}

impl UsersPage {
    fn link(&self, user: &UserRow) -> String {
        format!("/users/{}", links::part(&user.username))
    }
}

pub(crate) async fn show(State(app): State<App>) -> PageResult<UsersPage> {
    page(&app, None).await
}

async fn page(app: &App, told: Option<(String, String)>) -> PageResult<UsersPage> {
    Ok(Page(UsersPage { users: users::list(&mut *app.pool.acquire().await?, None).await?, told }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct New {
    username: String,
    role: Role,
}

/// The password is made here: whoever signs in with it may change it.
pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Form(new): Form<New>,
) -> Result<Response, PageError> {
    let password = Password::random();
    commands::create_user(&mut *app.pool.acquire().await?, &new.username, &password, new.role, &by).await?;
    Ok(page(&app, Some((new.username, password.reveal().to_owned()))).await?.into_response())
}

#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    role: Role,
}

pub(crate) async fn change(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
    Form(said): Form<Said>,
) -> Result<Redirect, PageError> {
    commands::set_role(&mut *app.pool.acquire().await?, &name, said.role, &by).await?;
    Ok(told::after("/users", Deed::Saved, &name))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Granted {
    dag_id: DagId,
    role: Role,
}

pub(crate) async fn grant(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
    Form(Granted { dag_id, role }): Form<Granted>,
) -> Result<Redirect, PageError> {
    commands::grant_dag(&mut *app.pool.acquire().await?, &name, &dag_id, role, &by).await?;
    Ok(told::after("/users", Deed::Saved, &name))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Revoked {
    dag_id: DagId,
}

pub(crate) async fn revoke(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
    Form(Revoked { dag_id }): Form<Revoked>,
) -> Result<Redirect, PageError> {
    commands::revoke_dag(&mut *app.pool.acquire().await?, &name, &dag_id, &by).await?;
    Ok(told::after("/users", Deed::Saved, &name))
}

/// Another password, made here.
pub(crate) async fn reset(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let password = Password::random();
    commands::set_password(&mut *app.pool.acquire().await?, &name, &password, &by).await?;
    Ok(page(&app, Some((name, password.reveal().to_owned()))).await?.into_response())
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
) -> Result<Redirect, PageError> {
    commands::delete_user(&mut *app.pool.acquire().await?, &name, &by).await?;
    Ok(told::after("/users", Deed::Deleted, &name))
}
