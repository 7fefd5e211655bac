//! Personal access tokens: somebody's own (`/api/tokens`), and for admins those of others
//! (`/api/users/{name}/tokens`).

use std::time::Duration;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use orchestrator::{
    commands::{self, By, Refused},
    store::{
        tokens::{self, TokenRow},
        users::{self, UserRow},
    },
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::Visitor;
use crate::{
    App,
    api::{ApiError, ApiResult, Body, Path, instant, listed},
};

/// How long a token is good, if nobody says how long.
const DAYS: i32 = 90;

fn who_asks(visitor: Option<Visitor>) -> ApiResult<UserRow> {
    let nobody = || ApiError::bad_request("nobody has signed in, so there is nobody whose tokens these could be");
    visitor.and_then(|visitor| visitor.user).ok_or_else(nobody)
}

pub(crate) async fn list(State(app): State<App>, Extension(visitor): Extension<Option<Visitor>>) -> ApiResult {
    let user = who_asks(visitor)?;
    told(&mut *app.pool.acquire().await?, &user).await
}

/// The answer is the one time that the token is shown.
pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Extension(visitor): Extension<Option<Visitor>>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let user = who_asks(visitor)?;
    let body = Body::read(&headers, &body, &["name"], &["name", "days"])?;
    let name = body.text("name")?.unwrap_or_default();
    let days = body.integer("days")?.unwrap_or(DAYS);
    let days = u32::try_from(days).ok().filter(|days| (1..=365).contains(days)).ok_or_else(|| {
        let text = "Input should be from 1 to 365";
        ApiError::invalid("value_error", json!(["body", "days"]), text, json!(days))
    })?;
    let length = Duration::from_secs(u64::from(days) * 86_400);
    let token = commands::create_token(&mut *app.pool.acquire().await?, &user, &name, length, &by).await?;
    Ok((StatusCode::CREATED, Json(json!({ "name": name, "token": token.reveal() }))))
}

pub(crate) async fn revoke(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Extension(visitor): Extension<Option<Visitor>>,
    Path(id): Path<i64>,
) -> ApiResult<StatusCode> {
    commands::revoke_token(&mut *app.pool.acquire().await?, &who_asks(visitor)?, id, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Those of somebody else.
pub(crate) async fn list_of(State(app): State<App>, Path(name): Path<String>) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let user = named(&mut conn, name).await?;
    told(&mut conn, &user).await
}

/// Takes one of somebody else's away.
pub(crate) async fn revoke_of(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((name, id)): Path<(String, i64)>,
) -> ApiResult<StatusCode> {
    let mut conn = app.pool.acquire().await?;
    let user = named(&mut conn, name).await?;
    commands::revoke_token(&mut conn, &user, id, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn named(conn: &mut PgConnection, name: String) -> ApiResult<UserRow> {
    users::list(conn, Some(&name)).await?.pop().ok_or_else(|| Refused::NoUser(name).into())
}

async fn told(conn: &mut PgConnection, user: &UserRow) -> ApiResult {
    let rows = tokens::of_user(conn, user.user_id).await?;
    let total = rows.len() as i64;
    Ok(Json(listed("tokens", rows.iter().map(wire).collect(), total)))
}

fn wire(token: &TokenRow) -> Value {
    json!({
        "id": token.token_id, "name": token.name, "created_at": instant(token.created_at),
        "last_used_at": token.last_used_at.map(instant), "expires_at": instant(token.expires_at),
    })
}
