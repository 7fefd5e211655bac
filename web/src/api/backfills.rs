//! `/backfills`.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri},
};
use orchestrator::{
    accounts::Role,
    commands::{self, Backfill, By, OnVersion},
    ids::{BackfillId, DagId},
    store::{
        backfills::{self, BackfillRow, Reprocess},
        pages::select::Direction,
    },
};
use serde_json::{Value, json};

use super::{
    body::Body,
    error::{ApiError, ApiResult},
    path::Path,
    query::{Params, listed},
    wire,
};
use crate::{
    App,
    auth::{needs, sees_dag},
};

const ALLOWED: [&str; 8] = [
    "dag_id",
    "from_date",
    "to_date",
    "run_backwards",
    "dag_run_conf",
    "reprocess_behavior",
    "max_active_runs",
    "run_on_latest_version",
];

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> ApiResult {
    let params = Params::of(&uri)?;
    let dag = params.one("dag_id").map(DagId::from);
    let page = params.page()?;
    let mut all = backfills::list(&mut *app.pool.acquire().await?, dag.as_ref(), None).await?;
    all.retain(|backfill| sees_dag(&backfill.dag_id));
    for (_, direction) in params.order(&[("id", ())])? {
        all.sort_by_key(|backfill| backfill.backfill_id);
        if direction == Direction::Descending {
            all.reverse();
        }
    }
    let total = all.len() as i64;
    let rows = all.iter().skip(page.offset as usize).take(page.limit as usize).map(write).collect();
    Ok(Json(listed("backfills", rows, total)))
}

pub(crate) async fn get(State(app): State<App>, Path(id): Path<i64>) -> ApiResult {
    let row = find(&app, BackfillId(id), Role::Viewer).await?;
    Ok(Json(write(&row)))
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let backfill = read(&Body::read(&headers, &body, &["dag_id", "from_date", "to_date"], &ALLOWED)?)?;
    needs(Role::User, &backfill.dag_id)?;
    let mut conn = app.pool.acquire().await?;
    let id = commands::create_backfill(&mut conn, &app.graphs, &backfill, &by).await?;
    drop(conn);
    app.wake.everybody();
    show(&app, id).await
}

/// What it would make, without making it.
pub(crate) async fn dry_run(State(app): State<App>, headers: HeaderMap, body: Bytes) -> ApiResult {
    let backfill = read(&Body::read(&headers, &body, &["dag_id", "from_date", "to_date"], &ALLOWED)?)?;
    needs(Role::User, &backfill.dag_id)?;
    let dates = commands::preview_backfill(&mut *app.pool.acquire().await?, &app.graphs, &backfill).await?;
    let row = |date| json!({ "logical_date": wire::instant(date), "partition_key": null, "partition_date": null });
    let rows: Vec<_> = dates.into_iter().map(row).collect();
    let total = rows.len() as i64;
    Ok(Json(listed("backfills", rows, total)))
}

pub(crate) async fn pause(State(app): State<App>, Extension(by): Extension<By>, Path(id): Path<i64>) -> ApiResult {
    let id = find(&app, BackfillId(id), Role::User).await?.backfill_id;
    commands::pause_backfill(&mut *app.pool.acquire().await?, id, true, &by).await?;
    show(&app, id).await
}

pub(crate) async fn unpause(State(app): State<App>, Extension(by): Extension<By>, Path(id): Path<i64>) -> ApiResult {
    let id = find(&app, BackfillId(id), Role::User).await?.backfill_id;
    commands::pause_backfill(&mut *app.pool.acquire().await?, id, false, &by).await?;
    app.wake.everybody();
    show(&app, id).await
}

pub(crate) async fn cancel(State(app): State<App>, Extension(by): Extension<By>, Path(id): Path<i64>) -> ApiResult {
    let id = find(&app, BackfillId(id), Role::User).await?.backfill_id;
    commands::cancel_backfill(&mut *app.pool.acquire().await?, &app.graphs, id, &by).await?;
    show(&app, id).await
}

async fn show(app: &App, id: BackfillId) -> ApiResult {
    let row = commands::find_backfill(&mut *app.pool.acquire().await?, id).await?;
    Ok(Json(write(&row)))
}

/// One that whoever asks may do this with.
async fn find(app: &App, id: BackfillId, role: Role) -> ApiResult<BackfillRow> {
    let row = commands::find_backfill(&mut *app.pool.acquire().await?, id).await?;
    needs(role, &row.dag_id)?;
    Ok(row)
}

fn read(body: &Body) -> ApiResult<Backfill> {
    let instant = |key: &str| {
        body.instant(key)?.ok_or_else(|| {
            ApiError::invalid("datetime_type", json!(["body", key]), "Input should be a valid datetime", Value::Null)
        })
    };
    let reprocess = match body.text("reprocess_behavior")?.as_deref() {
        None | Some("none") => Reprocess::None,
        Some("failed") => Reprocess::Failed,
        Some("completed") => Reprocess::Completed,
        Some(other) => {
            let text = "Input should be 'failed', 'completed' or 'none'";
            return Err(ApiError::invalid("enum", json!(["body", "reprocess_behavior"]), text, json!(other)));
        }
    };
    Ok(Backfill {
        dag_id: body.text("dag_id")?.unwrap_or_default().into(),
        from_date: instant("from_date")?,
        to_date: instant("to_date")?,
        run_backwards: body.flag("run_backwards", false)?,
        conf: body.object("dag_run_conf")?,
        reprocess,
        version: if body.flag("run_on_latest_version", true)? { OnVersion::Latest } else { OnVersion::Own },
        max_active_runs: body.integer("max_active_runs")?.unwrap_or(10),
    })
}

/// Airflow's `BackfillResponse`.
fn write(row: &BackfillRow) -> Value {
    json!({
        "id": row.backfill_id, "dag_id": row.dag_id, "dag_display_name": row.dag_id,
        "from_date": wire::instant(row.from_date), "to_date": wire::instant(row.to_date), "dag_run_conf": row.conf,
        "is_paused": row.is_paused, "reprocess_behavior": row.reprocess_behavior,
        "max_active_runs": row.max_active_runs, "created_at": wire::instant(row.created_at),
        "updated_at": wire::instant(row.updated_at), "completed_at": row.completed_at.map(wire::instant),
    })
}
