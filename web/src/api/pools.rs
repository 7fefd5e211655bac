//! `/pools`.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
};
use orchestrator::{
    commands::{self, By, Refused},
    store::pools::{self, NewPool, PoolListed},
};
use serde_json::{Value, json};

use super::{
    body::Body,
    error::{ApiError, ApiResult},
    query::{Params, listed},
};
use crate::App;

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let page = params.page()?;
    let all = pools::list(&mut *app.pool.acquire().await?, None).await?;
    let like = params.one("pool_name_pattern").unwrap_or_default().trim_matches('%').to_owned();
    let matching: Vec<_> = all.iter().filter(|pool| pool.name.contains(&like)).map(wire).collect();
    let total = matching.len() as i64;
    let rows = matching.into_iter().skip(page.offset as usize).take(page.limit as usize).collect();
    Ok(Json(listed("pools", rows, total)))
}

pub(crate) async fn get(State(app): State<App>, Path(name): Path<String>) -> ApiResult {
    Ok(Json(wire(&find(&app, &name).await?)))
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    const ALLOWED: [&str; 4] = ["name", "slots", "description", "include_deferred"];
    let body = Body::read(&headers, &body, &["name", "slots"], &ALLOWED)?;
    let (name, description) = (body.text("name")?.unwrap_or_default(), body.text("description")?);
    let pool = NewPool {
        name: &name,
        slots: slots(&body)?.unwrap_or(0),
        description: description.as_deref(),
        include_deferred: body.flag("include_deferred", false)?,
    };
    commands::create_pool(&mut *app.pool.acquire().await?, &pool, &by).await?;
    app.wake.everybody();
    Ok((StatusCode::CREATED, Json(wire(&find(&app, &name).await?))))
}

/// What the body does not name stays as it is.
pub(crate) async fn patch(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    const ALLOWED: [&str; 4] = ["pool", "slots", "description", "include_deferred"];
    let body = Body::read(&headers, &body, &[], &ALLOWED)?;
    if body.text("pool")?.is_some_and(|new| new != name) {
        return Err(ApiError::bad_request("Invalid body, pool name from request body doesn't match uri parameter"));
    }
    let now = find(&app, &name).await?;
    let description = body.text("description")?.or(now.description);
    let pool = NewPool {
        name: &name,
        slots: slots(&body)?.unwrap_or(now.slots),
        description: description.as_deref(),
        include_deferred: body.flag("include_deferred", now.include_deferred)?,
    };
    commands::update_pool(&mut *app.pool.acquire().await?, &pool, &by).await?;
    app.wake.everybody();
    Ok(Json(wire(&find(&app, &name).await?)))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    commands::delete_pool(&mut *app.pool.acquire().await?, &name, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn slots(body: &Body) -> ApiResult<Option<i32>> {
    let slots = body.integer("slots")?;
    if let Some(slots) = slots.filter(|slots| *slots < -1) {
        let text = "Input should be greater than or equal to -1";
        return Err(ApiError::invalid("greater_than_equal", json!(["body", "slots"]), text, json!(slots)));
    }
    Ok(slots)
}

async fn find(app: &App, name: &str) -> ApiResult<PoolListed> {
    let found = pools::list(&mut *app.pool.acquire().await?, Some(name)).await?;
    found.into_iter().next().ok_or_else(|| Refused::NoPool(name.to_owned()).into())
}

fn wire(pool: &PoolListed) -> Value {
    let occupied = pool.running + pool.queued + if pool.include_deferred { pool.deferred } else { 0 };
    // Airflow's clients know infinity by -1.
    let open = if pool.slots < 0 { -1 } else { i64::from(pool.slots) - occupied };
    json!({
        "name": pool.name, "slots": pool.slots, "description": pool.description,
        "include_deferred": pool.include_deferred, "team_name": null, "occupied_slots": occupied,
        "running_slots": pool.running, "queued_slots": pool.queued, "scheduled_slots": pool.scheduled,
        "open_slots": open, "deferred_slots": pool.deferred,
    })
}
