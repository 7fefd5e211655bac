//! `/dagRuns`: list, get, trigger.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use orchestrator::{
    accounts::Sight,
    commands::{self, By, ManualRun, Refused},
    ids::{DagId, RunId},
    state::{RunState, RunType},
    store::pages::{
        runs::{self as page, RunColumn, RunFilter, RunListed},
        select::Test,
    },
};
use serde_json::json;

use super::{
    body::Body,
    cursor::Found,
    dags,
    error::{ApiError, ApiResult},
    filters::{Filters, batch, only_any, with_ranges},
    path::Path,
    query::Params,
    wire,
};
use crate::{App, openapi::unserved};

/// Airflow's wildcard for "any".
pub(crate) const ANY: &str = "~";

pub(crate) async fn list(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Path(dag_id): Path<DagId>,
    uri: Uri,
) -> ApiResult<Response> {
    let params = Params::of(&uri)?;
    let mut filter = read(&params)?.seen_by(&sight, RunColumn::DagId);
    let mut conn = app.pool.acquire().await?;
    if dag_id.as_str() != ANY {
        filter = filter.only(RunColumn::DagId, dags::find(&mut conn, dag_id).await?.dag_id);
    }
    let found = match params.turn()? {
        Some(turn) => page::turn(&mut conn, &filter, turn, params.page()?.limit).await?.into(),
        None => page::list(&mut conn, &filter, params.page()?).await?.into(),
    };
    Ok(page_of(&found))
}

/// The same as a POST, for conditions that are longer than a path may be.
pub(crate) async fn list_batch(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Path(dag_id): Path<DagId>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<Response> {
    if dag_id.as_str() != ANY {
        return Err(only_any("dag_id", dag_id.as_str()));
    }
    let names = with_ranges(
        &["run_after", "logical_date", "start_date", "end_date", "duration"],
        &[("dag_ids", "dag_id"), ("states", "state"), ("order_by", "order_by"), ("conf_contains", "conf_contains")],
    );
    let params = batch(&headers, &body, &names)?;
    let filter = read(&params)?.seen_by(&sight, RunColumn::DagId);
    let found = page::list(&mut *app.pool.acquire().await?, &filter, params.page()?).await?;
    Ok(page_of(&found.into()))
}

fn page_of(found: &Found<RunListed>) -> Response {
    found.answer("dag_runs", &found.rows.iter().map(wire::Run::from).collect::<Vec<_>>())
}

/// What `order_by` knows.
const ORDERS: [(&str, RunColumn); 11] = [
    ("id", RunColumn::Key),
    ("state", RunColumn::State),
    ("dag_id", RunColumn::DagId),
    ("run_id", RunColumn::RunId),
    ("dag_run_id", RunColumn::RunId),
    ("logical_date", RunColumn::LogicalDate),
    ("run_after", RunColumn::RunAfter),
    ("start_date", RunColumn::StartDate),
    ("end_date", RunColumn::EndDate),
    ("duration", RunColumn::Duration),
    ("conf", RunColumn::Conf),
];

/// What has a range of instants.
const INSTANTS: [(&str, RunColumn); 4] = [
    ("run_after", RunColumn::RunAfter),
    ("logical_date", RunColumn::LogicalDate),
    ("start_date", RunColumn::StartDate),
    ("end_date", RunColumn::EndDate),
];

/// Airflow's types of runs that nothing here makes.
const FOREIGN_TYPES: [&str; 2] = ["operator_triggered", "asset_materialization"];

/// What is asked of bundles and partitions, which no run has.
const ABSENT: [&str; 5] = [
    "bundle_version",
    "partition_key_pattern",
    "partition_key_prefix_pattern",
    "partition_date_gte",
    "partition_date_lte",
];

fn read(params: &Params) -> ApiResult<RunFilter> {
    let types = [RunType::Backfill, RunType::Scheduled, RunType::Manual, RunType::AssetTriggered];
    let conf = params.one("conf_contains").map(|text| Test::Contains(text.to_owned()));
    let consuming = params.one("consuming_asset_pattern").map(|text| Test::HasText(text.to_owned()));
    Filters::new(params)
        .any("dag_id", RunColumn::DagId)
        .known("state", "state", (&RunState::ALL.map(RunState::as_str), &[]), RunColumn::State)?
        .known("run_type", "run type", (&types.map(RunType::as_str), &FOREIGN_TYPES), RunColumn::RunType)?
        .integers("dag_version", RunColumn::Version)?
        .pattern("run_id", RunColumn::RunId)
        .pattern("dag_id", RunColumn::DagId)
        .all_instants(&INSTANTS)?
        .numbers("duration", RunColumn::Duration)?
        .when(RunColumn::Conf, conf)
        .pattern("triggering_user_name", RunColumn::TriggeringUser)
        .when(RunColumn::Assets, consuming)
        .none_has(&ABSENT, RunColumn::Key)
        .unserved(&unserved::RUNS)?
        .order(&ORDERS, &[RunColumn::Key])
}

pub(crate) async fn get(State(app): State<App>, Path((dag_id, run_id)): Path<(DagId, RunId)>) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let run = page::get(&mut conn, &dag_id, &run_id).await?;
    Ok(Json(wire::run(&run.ok_or(Refused::NoRun(dag_id, run_id))?)))
}

pub(crate) async fn trigger(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let mut run = read_run(&dag_id, &headers, &body, &["logical_date"])?;
    let Some(key) = idempotency_key(&headers)? else { return made(&app, &by, &dag_id, run).await };
    let run_id = run.run_id.get_or_insert_with(|| RunId::from(format!("manual__{key}"))).clone();
    let (conf, logical_date) = (run.conf.clone().unwrap_or_else(|| json!({})), run.logical_date);
    let data_interval = run.data_interval.or(logical_date.map(|date| (date, date)));
    let answer = made(&app, &by, &dag_id, run).await;
    if !answer.as_ref().is_err_and(|error| error.status() == StatusCode::CONFLICT) {
        return answer;
    }
    let Some(made) = page::get(&mut *app.pool.acquire().await?, &dag_id, &run_id).await? else { return answer };
    let its_interval = made.data_interval_start.zip(made.data_interval_end);
    if (&made.conf, made.logical_date, its_interval) != (&conf, logical_date, data_interval) {
        let text = format!(
            "The Idempotency-Key was used for another run: {run_id} has another conf, logical date or data interval"
        );
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    Ok(Json(wire::run(&made)))
}

/// What makes a request that is sent again the same one (IETF, "The Idempotency-Key HTTP Header Field"): whoever got no
/// answer may ask once more, and no second run is made.
fn idempotency_key(headers: &HeaderMap) -> ApiResult<Option<String>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().map(|key| key.trim_matches('"')).filter(|key| !key.is_empty());
    key.map(|key| Some(key.to_owned())).ok_or_else(|| ApiError::bad_request("The Idempotency-Key cannot be read"))
}

/// The run that a body asks for.
pub(crate) fn read_run(dag_id: &DagId, headers: &HeaderMap, body: &Bytes, required: &[&str]) -> ApiResult<ManualRun> {
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
    let body = Body::read(headers, body, required, &ALLOWED)?;
    if body.value("partition_key").is_some() {
        return Err(ApiError::bad_request(format!(
            "Dag '{dag_id}' is not a partitioned Dag and does not accept a partition_key."
        )));
    }
    let (start, end) = (body.instant("data_interval_start")?, body.instant("data_interval_end")?);
    if start.is_some() != end.is_some() {
        let text =
            "Value error, Either both data_interval_start and data_interval_end must be provided or both must be None";
        return Err(ApiError::invalid("value_error", json!(["body"]), text, body.whole()));
    }
    Ok(ManualRun {
        run_id: body.text("dag_run_id")?.filter(|text| !text.is_empty()).map(RunId::from),
        logical_date: body.instant("logical_date")?,
        data_interval: start.zip(end),
        run_after: body.instant("run_after")?,
        conf: body.object("conf")?,
        note: body.note()?,
    })
}

/// Makes a run, and shows it.
pub(crate) async fn made(app: &App, by: &By, dag_id: &DagId, run: ManualRun) -> ApiResult {
    let mut conn = app.pool.acquire().await?;
    let made = commands::trigger(&mut conn, &app.graphs, dag_id, run, by).await;
    let run_id = made.map_err(|refused| match refused {
        Refused::NoDag(dag) => ApiError::not_found(format!("Dag with dag_id: '{dag}' not found")),
        other => other.into(),
    })?;
    app.wake.everybody();
    let run = page::get(&mut conn, dag_id, &run_id).await?;
    Ok(Json(wire::run(&run.ok_or_else(|| Refused::NoRun(dag_id.clone(), run_id))?)))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
) -> ApiResult<StatusCode> {
    commands::delete_run(&mut *app.pool.acquire().await?, &dag_id, &run_id, &by).await?;
    app.wake.everybody();
    Ok(StatusCode::NO_CONTENT)
}
