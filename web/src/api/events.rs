//! `/eventLogs`: who did what.

use axum::{Json, extract::State, http::Uri};
use orchestrator::store::pages::{
    Page,
    events::{self as page, EventColumn, EventFilter},
    select::{Comparison, Test},
};

use super::{
    error::{ApiError, ApiResult},
    filters::Filters,
    path::Path,
    query::{Params, listed},
    wire,
};
use crate::{App, openapi::unserved};

const ORDERS: [(&str, EventColumn); 10] = [
    ("id", EventColumn::EventId),
    ("event_log_id", EventColumn::EventId),
    ("dttm", EventColumn::When),
    ("when", EventColumn::When),
    ("dag_id", EventColumn::DagId),
    ("task_id", EventColumn::TaskId),
    ("run_id", EventColumn::RunId),
    ("event", EventColumn::Event),
    ("owner", EventColumn::Owner),
    ("extra", EventColumn::Extra),
];

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let excluded = Some(params.all("excluded_events")).filter(|names| !names.is_empty()).map(Test::NoneOf);
    let before = params.instant("before")?.map(|at| Test::Instant(Comparison::Below, at));
    let after = params.instant("after")?.map(|at| Test::Instant(Comparison::Above, at));
    let filter = Filters::new(&params)
        .any("dag_id", EventColumn::DagId)
        .any("task_id", EventColumn::TaskId)
        .any("run_id", EventColumn::RunId)
        .any("owner", EventColumn::Owner)
        .any("event", EventColumn::Event)
        .any("included_events", EventColumn::Event)
        .when(EventColumn::Event, excluded)
        .when(EventColumn::When, before)
        .when(EventColumn::When, after)
        .pattern("dag_id", EventColumn::DagId)
        .pattern("task_id", EventColumn::TaskId)
        .pattern("run_id", EventColumn::RunId)
        .pattern("owner", EventColumn::Owner)
        .pattern("event", EventColumn::Event)
        .unserved(&unserved::EVENTS)?
        .order(&ORDERS, &[EventColumn::EventId])?;
    let found = page::list(&mut *app.pool.acquire().await?, &filter, params.page()?).await?;
    Ok(Json(listed("event_logs", found.rows.iter().map(wire::event).collect(), found.total)))
}

pub(crate) async fn get(State(app): State<App>, Path(id): Path<i64>) -> ApiResult {
    let filter = EventFilter::default().only(EventColumn::EventId, id);
    let found = page::list(&mut *app.pool.acquire().await?, &filter, Page { limit: 1, offset: 0 }).await?;
    let event = found.rows.first().map(wire::event);
    event.map(Json).ok_or_else(|| ApiError::not_found(format!("The Event Log with id: `{id}` not found")))
}
