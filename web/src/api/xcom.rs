//! `/xcomEntries`.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use orchestrator::{
    commands::{self, By},
    ids::{DagId, RunId, TaskId},
    overflow::Stored,
    store::pages::{
        Page,
        xcoms::{self as page, XcomColumn, XcomFilter, XcomListed},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    body::Body,
    error::{ApiError, ApiResult},
    filters::Filters,
    instances::{OfInstance, find},
    path::Path,
    query::{Params, listed},
    runs::ANY,
    wire,
};
use crate::App;

const ORDERS: [(&str, XcomColumn); 7] = [
    ("key", XcomColumn::Key),
    ("dag_id", XcomColumn::DagId),
    ("run_id", XcomColumn::RunId),
    ("task_id", XcomColumn::TaskId),
    ("map_index", XcomColumn::MapIndex),
    ("timestamp", XcomColumn::WrittenAt),
    ("run_after", XcomColumn::RunAfter),
];

const DEFAULT_ORDER: [XcomColumn; 5] =
    [XcomColumn::DagId, XcomColumn::TaskId, XcomColumn::RunId, XcomColumn::MapIndex, XcomColumn::Key];

pub(crate) async fn list(
    State(app): State<App>,
    Path((dag_id, run_id, task_id)): Path<(DagId, RunId, TaskId)>,
    uri: Uri,
) -> ApiResult {
    let params = Params::of(&uri)?;
    let named = |text: &str| Some(text.to_owned()).filter(|text| text != ANY);
    let filter = Filters::new(&params)
        .any("xcom_key", XcomColumn::Key)
        .integers("map_index", XcomColumn::MapIndex)?
        .integers("map_index_filter", XcomColumn::MapIndex)?
        .pattern("xcom_key", XcomColumn::Key)
        .pattern("dag_display_name", XcomColumn::DagId)
        .pattern("run_id", XcomColumn::RunId)
        .pattern("task_id", XcomColumn::TaskId)
        .instants("logical_date", XcomColumn::LogicalDate)?
        .instants("run_after", XcomColumn::RunAfter)?
        .order(&ORDERS, &DEFAULT_ORDER)?
        .one_of(XcomColumn::DagId, named(dag_id.as_str()))
        .one_of(XcomColumn::RunId, named(run_id.as_str()))
        .one_of(XcomColumn::TaskId, named(task_id.as_str()));
    let found = page::list(&mut *app.pool.acquire().await?, &filter, params.page()?).await?;
    Ok(Json(listed("xcom_entries", found.rows.iter().map(wire::xcom).collect(), found.total)))
}

/// The last part of the path.
#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    key: String,
}

pub(crate) async fn get(State(app): State<App>, Path(Key { key }): Path<Key>, of: OfInstance, uri: Uri) -> ApiResult {
    let as_text = Params::of(&uri)?.flag("stringify")?.unwrap_or(false);
    let mut conn = app.pool.acquire().await?;
    let xcom = find_xcom(&mut conn, &of, &key).await?;
    let value = value(&app, &mut conn, &xcom).await?;
    let value = if as_text { json!(value.to_string()) } else { value };
    Ok(Json(with_value(&xcom, value)))
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    of: OfInstance,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let body = Body::read(&headers, &body, &["key", "value"], &["key", "value", "map_index"])?;
    let key = body.text("key")?.unwrap_or_default();
    let of = OfInstance { map_index: body.integer("map_index")?.unwrap_or(-1), ..of };
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &of).await?;
    if find_xcom(&mut conn, &of, &key).await.is_ok() {
        let text = format!("The XCom with key: `{key}` with mentioned task instance already exists.");
        return Err(ApiError::new(StatusCode::CONFLICT, text));
    }
    let value = body.value("value").cloned().unwrap_or_default();
    commands::put_xcom(&mut conn, &instance, &key, &value, &by).await?;
    let xcom = find_xcom(&mut conn, &of, &key).await?;
    Ok((StatusCode::CREATED, Json(with_value(&xcom, value))))
}

pub(crate) async fn patch(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(Key { key }): Path<Key>,
    of: OfInstance,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let body = Body::read(&headers, &body, &["value"], &["value", "map_index"])?;
    let of = OfInstance { map_index: body.integer("map_index")?.unwrap_or(-1), ..of };
    let mut conn = app.pool.acquire().await?;
    find_xcom(&mut conn, &of, &key).await?;
    let instance = find(&mut conn, &of).await?;
    let value = body.value("value").cloned().unwrap_or_default();
    commands::put_xcom(&mut conn, &instance, &key, &value, &by).await?;
    Ok(Json(with_value(&find_xcom(&mut conn, &of, &key).await?, value)))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(Key { key }): Path<Key>,
    of: OfInstance,
) -> ApiResult<StatusCode> {
    let mut conn = app.pool.acquire().await?;
    let xcom = find_xcom(&mut conn, &of, &key).await?;
    commands::delete_xcom(&mut conn, &xcom, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find_xcom(conn: &mut PgConnection, of: &OfInstance, key: &str) -> ApiResult<XcomListed> {
    let filter = XcomFilter::default()
        .only(XcomColumn::DagId, &of.dag_id)
        .only(XcomColumn::RunId, &of.run_id)
        .only(XcomColumn::TaskId, &of.task_id)
        .only(XcomColumn::MapIndex, of.map_index)
        .only(XcomColumn::Key, key);
    let found = page::list(conn, &filter, Page { limit: 1, offset: 0 }).await?.rows.pop();
    found.ok_or_else(|| ApiError::not_found(format!("XCom entry with key: `{key}` not found")))
}

/// The value, from wherever it is kept.
pub(crate) async fn value(app: &App, conn: &mut PgConnection, xcom: &XcomListed) -> ApiResult<Value> {
    let stored = page::value(conn, xcom).await?;
    let gone = || ApiError::not_found(format!("XCom entry with key: `{}` not found", xcom.key));
    match stored.ok_or_else(gone)? {
        Stored::Inline(value) => Ok(value),
        Stored::Object { object, .. } => {
            let bucket = app.overflow.as_ref().ok_or_else(|| {
                let text =
                    format!("the value is the object {object}; this server knows no bucket (STREAMCOMMERCE_BUCKET)");
                ApiError::new(StatusCode::NOT_IMPLEMENTED, text)
            })?;
            let json = bucket.get(&object).await?.ok_or_else(gone)?;
            Ok(serde_json::from_slice(&json).map_err(anyhow::Error::from)?)
        }
    }
}

fn with_value(xcom: &XcomListed, value: Value) -> Value {
    let mut fields = wire::xcom(xcom);
    fields["value"] = value;
    fields
}
