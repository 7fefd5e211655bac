//! `/variables`.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use orchestrator::{
    commands::{self, By, NewVariable, Refused},
    redact::{redacted_text, restored_text},
    secrets::{MASK, Sealed, SecretError, is_sensitive},
    store::{
        pages::settings::{self as page, VariableColumn},
        variables::{self, VariableRow},
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

const ALLOWED: [&str; 4] = ["key", "value", "description", "team_name"];

const ORDERS: [(&str, VariableColumn); 3] =
    [("id", VariableColumn::Key), ("key", VariableColumn::Key), ("description", VariableColumn::Description)];

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let filter = Filters::new(&params).pattern("variable_key", VariableColumn::Key).order(&ORDERS, &[])?;
    let found = page::variables(&mut *app.pool.acquire().await?, &filter, params.page()?).await?;
    let rows = found.rows.iter().map(|row| wire(&app, row)).collect();
    Ok(Json(listed("variables", rows, found.total)))
}

pub(crate) async fn get(State(app): State<App>, Path(key): Path<String>) -> ApiResult {
    Ok(Json(wire(&app, &find(&app, &key).await?)))
}

/// Variables, one or many of them.
pub(crate) enum Variables {}

impl Resource for Variables {
    type Scope = ();
    type Key = String;
    const PLURAL: &'static str = "variables";
    const KEY: &'static str = "key";
    const ALWAYS: &'static [&'static str] = &["key"];

    fn key((): &(), entity: &Value) -> ApiResult<String> {
        bulk::name(entity, "key")
    }

    fn fields() -> (&'static [&'static str], &'static [&'static str]) {
        (&["key", "value"], &ALLOWED)
    }

    async fn find(app: &App, key: &String) -> ApiResult<Vec<String>> {
        let found = variables::list(&mut *app.pool.acquire().await?, Some(key)).await?;
        Ok(found.into_iter().map(|row| row.key).collect())
    }

    async fn create(app: &App, by: &By, entity: Body) -> ApiResult<()> {
        let (key, description) = (entity.text("key")?.unwrap_or_default(), entity.text("description")?);
        let value = text_of(entity.value("value"));
        let new = NewVariable { key: &key, value: &value, description: description.as_deref() };
        Ok(commands::create_variable(&mut *app.pool.acquire().await?, &app.keys, new, by).await?)
    }

    /// What the entity does not name stays as it is.
    async fn update(app: &App, by: &By, key: &String, entity: Body) -> ApiResult<()> {
        let now = find(app, key).await?;
        let value = match entity.has("value").then(|| text_of(entity.value("value"))) {
            Some(new) if new.contains(MASK) => {
                let restored = restored_text(key, new, &open(app, &now)?);
                restored.map_err(|lost| ApiError::bad_request(lost.to_string()))?
            }
            Some(new) => new,
            None => open(app, &now)?,
        };
        let description = if entity.has("description") { entity.text("description")? } else { now.description };
        let new = NewVariable { key, value: &value, description: description.as_deref() };
        Ok(commands::update_variable(&mut *app.pool.acquire().await?, &app.keys, new, by).await?)
    }

    async fn delete(app: &App, by: &By, key: &String) -> ApiResult<()> {
        Ok(commands::delete_variable(&mut *app.pool.acquire().await?, key, by).await?)
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let body = Body::read(&headers, &body, &["key", "value"], &ALLOWED)?;
    let key = body.text("key")?.unwrap_or_default();
    Variables::create(&app, &by, body).await?;
    Ok((StatusCode::CREATED, Json(wire(&app, &find(&app, &key).await?))))
}

pub(crate) async fn patch(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(key): Path<String>,
    mask: Mask,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &[], &ALLOWED)?;
    if body.text("key")?.is_some_and(|new| new != key) {
        return Err(ApiError::bad_request("Invalid body, key from request body doesn't match uri parameter"));
    }
    Variables::update(&app, &by, &key, body.masked(&mask, &[])).await?;
    Ok(Json(wire(&app, &find(&app, &key).await?)))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(key): Path<String>,
) -> ApiResult<StatusCode> {
    Variables::delete(&app, &by, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Airflow keeps a text as it is and writes everything else as JSON.
fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "null".to_owned(),
    }
}

async fn find(app: &App, key: &str) -> ApiResult<VariableRow> {
    let found = variables::list(&mut *app.pool.acquire().await?, Some(key)).await?;
    found.into_iter().next().ok_or_else(|| Refused::NoVariable(key.to_owned()).into())
}

fn open(app: &App, row: &VariableRow) -> Result<String, SecretError> {
    app.keys.open(Sealed::Variable(&row.key), &row.sealed)
}

/// Airflow's `VariableResponse`: what sounds secret is not shown, and what cannot be opened is null.
fn wire(app: &App, row: &VariableRow) -> Value {
    let opened = || open(app, row).inspect_err(|error| tracing::warn!(%error, "cannot show a variable")).ok();
    let value = if is_sensitive(&row.key) { Some(MASK.to_owned()) } else { opened() };
    let value = value.map(|value| redacted_text(&row.key, value));
    json!({ "key": row.key, "value": value, "description": row.description, "is_encrypted": true, "team_name": null })
}
