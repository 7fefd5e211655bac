//! `/api/tokens`: somebody's own; and for admins `/api/users`.

use std::time::Duration;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By, Refused},
    ids::DagId,
    store::users::{self, UserRow},
};
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::Visitor;
use crate::{
    App,
    api::{ApiError, ApiResult, Body, Path, instant, listed},
};

/// How long a token is good, if nobody says how long.
const DAYS: i32 = 90;

fn user(visitor: Option<Visitor>) -> ApiResult<UserRow> {
    let nobody = || ApiError::bad_request("nobody has signed in, so there is nobody whose tokens these could be");
    visitor.and_then(|visitor| visitor.user).ok_or_else(nobody)
}

pub(crate) async fn tokens(State(app): State<App>, Extension(visitor): Extension<Option<Visitor>>) -> ApiResult {
    let rows = users::tokens(&mut *app.pool.acquire().await?, user(visitor)?.user_id).await?;
    let total = rows.len() as i64;
    let rows = rows.iter().map(|row| {
        json!({
            "id": row.token_id, "name": row.name, "created_at": instant(row.created_at),
            "last_used_at": row.last_used_at.map(instant), "expires_at": instant(row.expires_at),
        })
    });
    Ok(Json(listed("tokens", rows.collect(), total)))
}

/// The answer is the one time that the token is shown.
pub(crate) async fn create_token(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Extension(visitor): Extension<Option<Visitor>>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let user = user(visitor)?;
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

pub(crate) async fn revoke_token(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Extension(visitor): Extension<Option<Visitor>>,
    Path(id): Path<i64>,
) -> ApiResult<StatusCode> {
    commands::revoke_token(&mut *app.pool.acquire().await?, &user(visitor)?, id, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn users(State(app): State<App>) -> ApiResult {
    let rows = users::list(&mut *app.pool.acquire().await?, None).await?;
    let total = rows.len() as i64;
    Ok(Json(listed("users", rows.iter().map(wire).collect(), total)))
}

pub(crate) async fn create_user(
    State(app): State<App>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let body = Body::read(&headers, &body, &["username", "password", "role"], &["username", "password", "role"])?;
    let (name, password) = (body.text("username")?.unwrap_or_default(), body.text("password")?.unwrap_or_default());
    let (role, password) = (role(&body)?.unwrap_or(Role::Viewer), Password::from(password));
    let mut conn = app.pool.acquire().await?;
    commands::create_user(&mut conn, &name, &password, role, &by).await?;
    let made = users::list(&mut conn, Some(&name)).await?;
    Ok((StatusCode::CREATED, Json(made.first().map(wire).unwrap_or_default())))
}

/// Another role, another password, or both.
pub(crate) async fn patch_user(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &["password", "role"])?;
    let (role, password) = (role(&body)?, body.text("password")?);
    let mut conn = app.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    if let Some(role) = role {
        commands::set_role(&mut tx, &name, role, &by).await?;
    }
    if let Some(password) = password {
        commands::set_password(&mut tx, &name, &Password::from(password), &by).await?;
    }
    tx.commit().await?;
    let now = users::list(&mut conn, Some(&name)).await?;
    now.first().map(|user| Json(wire(user))).ok_or_else(|| Refused::NoUser(name).into())
}

pub(crate) async fn delete_user(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    commands::delete_user(&mut *app.pool.acquire().await?, &name, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a user look at one DAG, or work on it.
pub(crate) async fn grant_dag(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((name, dag)): Path<(String, DagId)>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &["role"], &["role"])?;
    let role = role(&body)?.unwrap_or(Role::Viewer);
    let mut conn = app.pool.acquire().await?;
    commands::grant_dag(&mut conn, &name, &dag, role, &by).await?;
    let now = users::list(&mut conn, Some(&name)).await?;
    now.first().map(|user| Json(wire(user))).ok_or_else(|| Refused::NoUser(name).into())
}

pub(crate) async fn revoke_dag(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((name, dag)): Path<(String, DagId)>,
) -> ApiResult<StatusCode> {
    commands::revoke_dag(&mut *app.pool.acquire().await?, &name, &dag, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn role(body: &Body) -> ApiResult<Option<Role>> {
    let Some(text) = body.text("role")? else { return Ok(None) };
    text.parse().map(Some).map_err(|error: orchestrator::accounts::BadRole| {
        ApiError::invalid("enum", json!(["body", "role"]), error.to_string(), json!(text))
    })
}

fn wire(user: &UserRow) -> Value {
    json!({
        "username": user.username, "role": user.role, "dags": user.dags, "created_at": instant(user.created_at),
        "last_sign_in_at": user.last_sign_in_at.map(instant),
    })
}
