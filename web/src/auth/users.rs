//! `/api/users`, for admins.

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

use crate::{
    App,
    api::{ApiError, ApiResult, Body, Path, instant, listed},
};

pub(crate) async fn list(State(app): State<App>) -> ApiResult {
    let rows = users::list(&mut *app.pool.acquire().await?, None).await?;
    let total = rows.len() as i64;
    Ok(Json(listed("users", rows.iter().map(wire).collect(), total)))
}

pub(crate) async fn create(
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
pub(crate) async fn patch(
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

pub(crate) async fn delete(
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
