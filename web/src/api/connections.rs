//! `/connections`. Secrets are never shown, and one that comes back masked stays as it is.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use orchestrator::{
    commands::{self, By, Refused},
    lookup::Connection,
    secrets::MASK,
    store::{
        connections::{self, ConnectionRow},
        pages::settings::{self as page, ConnectionColumn},
    },
};
use serde_json::{Map, Value, json};

use super::{
    body::{Body, Mask},
    bulk::{self, Resource},
    error::{ApiError, ApiResult},
    filters::Filters,
    path::Path,
    query::{Params, listed},
};
use crate::App;

const ALLOWED: [&str; 10] =
    ["connection_id", "conn_type", "description", "host", "login", "schema", "port", "password", "extra", "team_name"];

const ORDERS: [(&str, ConnectionColumn); 7] = [
    ("id", ConnectionColumn::ConnId),
    ("conn_id", ConnectionColumn::ConnId),
    ("connection_id", ConnectionColumn::ConnId),
    ("conn_type", ConnectionColumn::ConnType),
    ("description", ConnectionColumn::Description),
    ("host", ConnectionColumn::Host),
    ("port", ConnectionColumn::Port),
];

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let filter = Filters::new(&params).pattern("connection_id", ConnectionColumn::ConnId).order(&ORDERS, &[])?;
    let found = page::connections(&mut *app.pool.acquire().await?, &filter, params.page()?).await?;
    let rows = found.rows.into_iter().map(|row| wire(&app, row)).collect();
    Ok(Json(listed("connections", rows, found.total)))
}

pub(crate) async fn get(State(app): State<App>, Path(id): Path<String>) -> ApiResult {
    Ok(Json(wire(&app, find(&app, &id).await?)))
}

/// Connections, one or many of them.
pub(crate) enum Connections {}

impl Resource for Connections {
    type Scope = ();
    type Key = String;
    const PLURAL: &'static str = "connections";
    const KEY: &'static str = "connection_id";
    const ALWAYS: &'static [&'static str] = &["connection_id"];

    fn key((): &(), entity: &Value) -> ApiResult<String> {
        bulk::name(entity, "connection_id")
    }

    fn fields() -> (&'static [&'static str], &'static [&'static str]) {
        (&["connection_id", "conn_type"], &ALLOWED)
    }

    async fn find(app: &App, key: &String) -> ApiResult<Vec<String>> {
        let found = connections::list(&mut *app.pool.acquire().await?, Some(key)).await?;
        Ok(found.into_iter().map(|row| row.conn_id).collect())
    }

    async fn create(app: &App, by: &By, entity: Body) -> ApiResult<()> {
        let id = entity.text("connection_id")?.unwrap_or_default();
        let new = read(&entity, Connection::default())?;
        Ok(commands::create_connection(&mut *app.pool.acquire().await?, &app.keys, &id, &new, by).await?)
    }

    /// What the entity does not name stays as it is.
    async fn update(app: &App, by: &By, key: &String, entity: Body) -> ApiResult<()> {
        let new = read(&entity, Connection::open(find(app, key).await?, &app.keys)?)?;
        Ok(commands::update_connection(&mut *app.pool.acquire().await?, &app.keys, key, &new, by).await?)
    }

    async fn delete(app: &App, by: &By, key: &String) -> ApiResult<()> {
        Ok(commands::delete_connection(&mut *app.pool.acquire().await?, key, by).await?)
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let body = Body::read(&headers, &body, &["connection_id", "conn_type"], &ALLOWED)?;
    let id = body.text("connection_id")?.unwrap_or_default();
    Connections::create(&app, &by, body).await?;
    Ok((StatusCode::CREATED, Json(wire(&app, find(&app, &id).await?))))
}

pub(crate) async fn patch(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(id): Path<String>,
    mask: Mask,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &ALLOWED)?;
    if body.text("connection_id")?.is_some_and(|new| new != id) {
        let text = "The connection_id in the request body does not match the URL parameter";
        return Err(ApiError::bad_request(text));
    }
    Connections::update(&app, &by, &id, body.masked(&mask, &[])).await?;
    Ok(Json(wire(&app, find(&app, &id).await?)))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    Connections::delete(&app, &by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read(body: &Body, now: Connection) -> ApiResult<Connection> {
    let text = |key: &str, now: Option<String>| if body.has(key) { body.text(key) } else { Ok(now) };
    let port = match body.integer("port")? {
        Some(port) => Some(u16::try_from(port).map_err(|_| {
            let message = "Input should be a port: 0 to 65535";
            ApiError::invalid("value_error", json!(["body", "port"]), message, json!(port))
        })?),
        None if body.has("port") => None,
        None => now.port,
    };
    let extra = match body.text("extra")?.filter(|text| !text.is_empty()) {
        Some(text) => Some(now.unmasked_extra(extra(&text)?).map_err(|lost| ApiError::bad_request(lost.to_string()))?),
        None if body.has("extra") => None,
        None => now.extra.clone(),
    };
    let password = match body.text("password")? {
        Some(masked) if masked == MASK => now.password,
        Some(new) => Some(new),
        None if body.has("password") => None,
        None => now.password,
    };
    Ok(Connection {
        conn_type: body.text("conn_type")?.unwrap_or(now.conn_type),
        description: text("description", now.description)?,
        host: text("host", now.host)?,
        login: text("login", now.login)?,
        schema: text("schema", now.schema)?,
        password,
        port,
        extra,
    })
}

fn extra(text: &str) -> ApiResult<Map<String, Value>> {
    let message = "Value error, The `extra` field must be a valid JSON object (e.g., {'key': 'value'})";
    serde_json::from_str(text)
        .map_err(|_| ApiError::invalid("value_error", json!(["body", "extra"]), message, json!(text)))
}

async fn find(app: &App, id: &str) -> ApiResult<ConnectionRow> {
    let found = connections::list(&mut *app.pool.acquire().await?, Some(id)).await?;
    found.into_iter().next().ok_or_else(|| Refused::NoConnection(id.to_owned()).into())
}

/// Airflow's `ConnectionResponse`. Of one that cannot be opened the secrets are hidden, and the extra is null.
fn wire(app: &App, row: ConnectionRow) -> Value {
    let (id, password) = (row.conn_id.clone(), row.sealed_password.as_ref().map(|_| MASK));
    let connection = Connection::open(row.clone(), &app.keys).unwrap_or_else(|error| {
        tracing::warn!(error = format!("{error:#}"), "cannot show the secrets of a connection");
        Connection::without_secrets(row)
    });
    json!({
        "connection_id": id, "conn_type": connection.conn_type, "description": connection.description,
        "host": connection.host, "login": connection.login, "schema": connection.schema, "port": connection.port,
        "password": password, "extra": connection.masked_extra().map(|extra| extra.to_string()), "team_name": null,
    })
}
