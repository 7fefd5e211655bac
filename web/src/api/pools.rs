//! `/pools`.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use orchestrator::{
    commands::{self, By, Refused},
    store::{
        pages::settings::{self as page, Name},
        pools::{self, NewPool, PoolListed},
    },
};
use serde_json::{Value, json};

use super::{
    body::{Body, Mask},
    bulk::{self, Resource},
    error::{ApiError, ApiResult},
    filters::Filters,
    path::Path,
    query::{Params, listed},
};
use crate::App;

const ORDERS: [(&str, Name); 3] = [("id", Name), ("pool", Name), ("name", Name)];

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let filter = Filters::new(&params).pattern("pool_name", Name).order(&ORDERS, &[])?;
    let mut conn = app.pool.acquire().await?;
    let found = page::pools(&mut conn, &filter, params.page()?).await?;
    let all = pools::list(&mut conn, None).await?;
    let rows = found.rows.iter().filter_map(|name| all.iter().find(|pool| pool.name == *name)).map(wire).collect();
    Ok(Json(listed("pools", rows, found.total)))
}

pub(crate) async fn get(State(app): State<App>, Path(name): Path<String>) -> ApiResult {
    Ok(Json(wire(&find(&app, &name).await?)))
}

/// Pools, one or many of them.
pub(crate) enum Pools {}

const FIELDS: [&str; 5] = ["name", "slots", "description", "include_deferred", "team_name"];

impl Resource for Pools {
    type Scope = ();
    type Key = String;
    const PLURAL: &'static str = "pools";
    const KEY: &'static str = "name";
    const ALWAYS: &'static [&'static str] = &["name"];

    fn key((): &(), entity: &Value) -> ApiResult<String> {
        bulk::name(entity, "name")
    }

    fn fields() -> (&'static [&'static str], &'static [&'static str]) {
        (&["name", "slots"], &FIELDS)
    }

    async fn find(app: &App, key: &String) -> ApiResult<Vec<String>> {
        let found = pools::list(&mut *app.pool.acquire().await?, Some(key)).await?;
        Ok(found.into_iter().map(|row| row.name).collect())
    }

    async fn create(app: &App, by: &By, entity: Body) -> ApiResult<()> {
        let (name, description) = (entity.text("name")?.unwrap_or_default(), entity.text("description")?);
        let pool = NewPool {
            name: &name,
            slots: slots(&entity)?.unwrap_or(0),
            description: description.as_deref(),
            include_deferred: entity.flag("include_deferred", false)?,
        };
        Ok(commands::create_pool(&mut *app.pool.acquire().await?, &pool, by).await?)
    }

    /// What the entity does not name stays as it is.
    async fn update(app: &App, by: &By, key: &String, entity: Body) -> ApiResult<()> {
        let now = find(app, key).await?;
        let description = if entity.has("description") { entity.text("description")? } else { now.description };
        let include_deferred = match entity.value("include_deferred") {
            Some(_) => entity.flag("include_deferred", false)?,
            None => now.include_deferred,
        };
        let pool = NewPool {
            name: key,
            slots: slots(&entity)?.unwrap_or(now.slots),
            description: description.as_deref(),
            include_deferred,
        };
        Ok(commands::update_pool(&mut *app.pool.acquire().await?, &pool, by).await?)
    }

    async fn delete(app: &App, by: &By, key: &String) -> ApiResult<()> {
        Ok(commands::delete_pool(&mut *app.pool.acquire().await?, key, by).await?)
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let body = Body::read(&headers, &body, &["name", "slots"], &FIELDS)?;
    let name = body.text("name")?.unwrap_or_default();
    Pools::create(&app, &by, body).await?;
    app.wake.everybody();
    Ok((StatusCode::CREATED, Json(wire(&find(&app, &name).await?))))
}

pub(crate) async fn patch(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
    mask: Mask,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &["pool", "slots", "description", "include_deferred", "team_name"])?;
    if body.text("pool")?.is_some_and(|new| new != name) {
        return Err(ApiError::bad_request("Invalid body, pool name from request body doesn't match uri parameter"));
    }
    Pools::update(&app, &by, &name, body.masked(&mask, &[])).await?;
    app.wake.everybody();
    Ok(Json(wire(&find(&app, &name).await?)))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
) -> ApiResult<StatusCode> {
    Pools::delete(&app, &by, &name).await?;
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
