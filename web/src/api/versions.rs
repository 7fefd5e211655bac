//! `/dagVersions` and `/dagSources`.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use orchestrator::{
    ids::DagId,
    store::pages::{
        Page,
        versions::{self as page, VersionColumn, VersionFilter, VersionListed},
    },
};
use serde_json::{Value, json};

use super::{
    dags,
    error::{ApiError, ApiResult},
    filters::Filters,
    path::Path,
    query::{Params, listed},
    runs::ANY,
    wire,
};
use crate::App;

const ORDERS: [(&str, VersionColumn); 2] = [("id", VersionColumn::Key), ("version_number", VersionColumn::Number)];

pub(crate) async fn list(State(app): State<App>, Path(dag_id): Path<DagId>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let mut filter = Filters::new(&params)
        .integers("version_number", VersionColumn::Number)?
        .all_have("bundle_name", wire::BUNDLE, VersionColumn::Key)
        .none_has(&["bundle_version"], VersionColumn::Key)
        .order(&ORDERS, &[VersionColumn::Key])?;
    let mut conn = app.pool.acquire().await?;
    if dag_id.as_str() != ANY {
        filter = filter.only(VersionColumn::DagId, dags::find(&mut conn, dag_id).await?.dag_id);
    }
    let found = page::list(&mut conn, &filter, params.page()?).await?;
    Ok(Json(listed("dag_versions", found.rows.iter().map(write).collect(), found.total)))
}

pub(crate) async fn get(State(app): State<App>, Path((dag_id, number)): Path<(DagId, i32)>) -> ApiResult {
    let filter = VersionFilter::default().only(VersionColumn::DagId, &dag_id).only(VersionColumn::Number, number);
    let found = page::list(&mut *app.pool.acquire().await?, &filter, Page { limit: 1, offset: 0 }).await?;
    found.rows.first().map(write).map(Json).ok_or_else(|| {
        let text = format!("The DagVersion with dag_id: `{dag_id}` and version_number: `{number}` was not found");
        ApiError::not_found(text)
    })
}

fn write(of: &VersionListed) -> Value {
    wire::version(of.version, of.number, of.dag_id.as_str(), of.created_at)
}

/// The text of the file in which a DAG is written, as JSON or as it is.
pub(crate) async fn source(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    uri: Uri,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let wanted = Params::of(&uri)?.integer("version_number")?;
    let gone = || {
        let version = wanted.map_or("latest".to_owned(), |number| number.to_string());
        ApiError::not_found(format!("The source code of the DAG {dag_id}, version_number {version} was not found"))
    };
    let found = page::source(&mut *app.pool.acquire().await?, &dag_id, wanted).await?.ok_or_else(gone)?;
    let content = found.source.ok_or_else(gone)?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if accept.contains("application/json") || accept.contains("*/*") {
        let body = json!({
            "content": content, "dag_id": dag_id, "version_number": found.number, "dag_display_name": dag_id,
        });
        return Ok(Json(body).into_response());
    }
    if accept.contains("text/plain") {
        return Ok(content.into_response());
    }
    Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, "Only application/json or text/plain is supported"))
}
