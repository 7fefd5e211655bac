//! What somebody sees of themselves: their role, their tokens, their password.

use std::time::Duration;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By, NotSignedIn},
    store::{
        tokens::{self, TokenRow},
        users::UserRow,
    },
};
use serde::Deserialize;

use super::{
    page::{Frame, Page, PageError, PageResult},
    told::{self, Deed},
    words::Moment,
};
use crate::{App, auth::Visitor};

#[derive(Template)]
#[template(path = "account.html")]
pub(crate) struct AccountPage {
    username: Option<String>,
    role: Role,
    tokens: Vec<TokenRow>,
    /// A new token, shown this one time.
    told: Option<String>,
}

impl Frame for AccountPage {}

/// Who is asking; none where nobody need sign in.
type Who = Extension<Option<Visitor>>;

pub(crate) async fn show(State(app): State<App>, Extension(visitor): Who) -> PageResult<AccountPage> {
    page(&app, visitor, None).await
}

async fn page(app: &App, visitor: Option<Visitor>, told: Option<String>) -> PageResult<AccountPage> {
    let role = visitor.as_ref().map_or(Role::Viewer, |visitor| visitor.role);
    let user = visitor.and_then(|visitor| visitor.user);
    let tokens = match &user {
        Some(user) => tokens::of_user(&mut *app.pool.acquire().await?, user.user_id).await?,
        None => Vec::new(),
    };
    Ok(Page(AccountPage { username: user.map(|user| user.username), role, tokens, told }))
}

fn user(visitor: Option<Visitor>) -> Result<UserRow, PageError> {
    let nobody = || PageError::new(StatusCode::BAD_REQUEST, "Nobody has signed in, so there is nobody to do it for.");
    visitor.and_then(|visitor| visitor.user).ok_or_else(nobody)
}

#[derive(Debug, Deserialize)]
pub(crate) struct New {
    name: String,
    days: u16,
}

pub(crate) async fn create_token(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Extension(visitor): Who,
    Form(new): Form<New>,
) -> Result<Response, PageError> {
    if !(1..=365).contains(&new.days) {
        return Err(PageError::new(StatusCode::BAD_REQUEST, "A token is good for 1 to 365 days."));
    }
    let length = Duration::from_secs(u64::from(new.days) * 86_400);
    let user = user(visitor.clone())?;
    let token = commands::create_token(&mut *app.pool.acquire().await?, &user, &new.name, length, &by).await?;
    Ok(page(&app, visitor, Some(token.reveal().to_owned())).await?.into_response())
}

pub(crate) async fn revoke_token(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Extension(visitor): Who,
    Path(id): Path<i64>,
) -> Result<Redirect, PageError> {
    commands::revoke_token(&mut *app.pool.acquire().await?, &user(visitor)?, id, &by).await?;
    Ok(told::after("/account", Deed::Revoked, "The token"))
}

#[derive(Deserialize)]
pub(crate) struct Change {
    now: String,
    new: String,
}

/// Whoever has an open session of somebody else does not know their password.
pub(crate) async fn change_password(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Extension(visitor): Who,
    Form(change): Form<Change>,
) -> Result<Redirect, PageError> {
    let name = user(visitor)?.username;
    match commands::sign_in(app.pool.pool(), &name, Password::from(change.now), &by).await {
        Ok(_) => {}
        Err(NotSignedIn::Failed(error)) => return Err(error.into()),
        Err(NotSignedIn::Wrong) => {
            return Err(PageError::new(StatusCode::FORBIDDEN, "That is not the password of now."));
        }
        Err(later @ (NotSignedIn::TooOften(_) | NotSignedIn::Crowd)) => {
            return Err(PageError::new(StatusCode::TOO_MANY_REQUESTS, later.to_string()));
        }
    }
    commands::set_password(&mut *app.pool.acquire().await?, &name, &Password::from(change.new), &by).await?;
    Ok(Redirect::to("/login"))
}
