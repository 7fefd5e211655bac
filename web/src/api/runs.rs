//! `/dagRuns`: list, get, trigger.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Uri},
};
use orchestrator::{
    commands::{self, ManualRun, Origin, Refused},
    ids::{DagId, RunId},
    state::{RunState, RunType},
    store::pages::runs::{self as page, RunFilter, RunOrder},
};

use super::{
    body::Body,
    dags,
    error::{ApiError, ApiResult},
    query::{Params, listed},
    wire,
};
use crate::App;

/// Airflow's wildcard for "any".
pub(crate) const ANY: &str = "~";

pub(crate) async fn list(State(app): State<App>, Path(dag_id): Path<DagId>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let states = RunState::ALL.map(|state| (state.as_str(), state));
    let types = [RunType::Backfill, RunType::Scheduled, RunType::Manual, RunType::AssetTriggered];
    let types = types.map(|kind| (kind.as_str(), kind));
    let orders = [
        ("id", RunOrder::Made),
        ("-run_after", RunOrder::Latest),
        ("run_after", RunOrder::Earliest),
        ("-start_date", RunOrder::Latest),
        ("start_date", RunOrder::Earliest),
        ("-logical_date", RunOrder::Latest),
        ("logical_date", RunOrder::Earliest),
    ];
    let mut filter = RunFilter {
        states: params.states("state", "state", &states)?,
        types: params.states("run_type", "run type", &types)?,
        ..RunFilter::default()
    };
    let mut conn = app.pool.acquire().await?;
    if dag_id.as_str() != ANY {
        filter.dag_id = Some(dags::find(&mut conn, dag_id).await?.dag_id);
    }
    filter.order = params.order(&orders, RunOrder::Made)?;
    let found = page::list(&mut conn, &filter, params.page()?).await?;
    Ok(Json(listed("dag_runs", found.rows.iter().map(wire::run).collect(), found.total)))
}

pub(crate) async fn get(State(app): State<App>, Path((dag_id, run_id)): Path<(DagId, RunId)>) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let run = page::get(&mut conn, &dag_id, &run_id).await?;
    Ok(Json(wire::run(&run.ok_or(Refused::NoRun(dag_id, run_id))?)))
}

pub(crate) async fn trigger(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    const ALLOWED: [&str; 8] = [
        "logical_date",
        "dag_run_id",
        "data_interval_start",
        "data_interval_end",
        "run_after",
        "conf",
        "note",
        "partition_key",
    ];
    let body = Body::read(&headers, &body, &["logical_date"], &ALLOWED)?;
    if body.value("partition_key").is_some() {
        return Err(ApiError::bad_request(format!(
            "Dag '{dag_id}' is not a partitioned Dag and does not accept a partition_key."
        )));
    }
    let run = ManualRun {
        run_id: body.text("dag_run_id")?.filter(|text| !text.is_empty()).map(RunId::from),
        logical_date: body.instant("logical_date")?,
        run_after: body.instant("run_after")?,
        conf: body.object("conf")?,
        note: body.text("note")?,
    };
    let mut conn = app.pool.acquire().await?;
    let made = commands::trigger(&mut conn, &app.graphs, &dag_id, run, Origin::RestApi).await;
    let run_id = made.map_err(|refused| match refused {
        Refused::NoDag(dag) => ApiError::not_found(format!("Dag with dag_id: '{dag}' not found")),
        other => other.into(),
    })?;
    app.wake.everybody();
    let run = page::get(&mut conn, &dag_id, &run_id).await?;
    Ok(Json(wire::run(&run.ok_or(Refused::NoRun(dag_id, run_id))?)))
}
