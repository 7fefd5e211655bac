//! All DAGs; pause and trigger.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, State},
    http::HeaderMap,
    response::Redirect,
};
use orchestrator::{
    commands::{self, By, ManualRun},
    ids::{DagId, RunId},
    state::RunState,
    store::pages::{
        Page as Part,
        dags::{self as store, DagFilter, RecentRun},
    },
};
use serde::Deserialize;

use super::page::{Page, PageError, PageResult, instant};
use crate::App;

/// More than anybody reads on one page.
const DAGS: Part = Part { limit: 500, offset: 0 };

/// Runs beside each DAG.
const RECENT: i64 = 12;

#[derive(Template)]
#[template(path = "dags.html")]
pub(crate) struct DagsPage {
    rows: Vec<Row>,
}

struct Row {
    dag_id: DagId,
    description: Option<String>,
    is_paused: bool,
    schedule: String,
    next_run: String,
    recent: Vec<Recent>,
}

struct Recent {
    run_id: RunId,
    state: RunState,
}

impl DagsPage {
    fn is_live(&self) -> bool {
        self.rows.iter().any(|row| !row.is_paused || row.recent.iter().any(|run| !run.state.is_finished()))
    }
}

pub(crate) async fn show(State(app): State<App>) -> PageResult<DagsPage> {
    let mut conn = app.pool.acquire().await?;
    let dags = store::list(&mut conn, &DagFilter::default(), DAGS).await?.rows;
    let ids: Vec<_> = dags.iter().map(|dag| dag.dag_id.as_str().to_owned()).collect();
    let mut recent: HashMap<DagId, Vec<Recent>> = HashMap::new();
    for RecentRun { dag_id, run_id, state, .. } in store::recent_runs(&mut conn, &ids, RECENT).await? {
        recent.entry(dag_id).or_default().insert(0, Recent { run_id, state });
    }
    let mut rows = Vec::new();
    for dag in dags {
        let graph = app.graphs.get(&mut conn, dag.version).await?;
        rows.push(Row {
            recent: recent.remove(&dag.dag_id).unwrap_or_default(),
            description: graph.description().map(ToOwned::to_owned),
            is_paused: dag.is_paused,
            schedule: graph.schedule().summary(),
            next_run: instant(dag.next_run_at.filter(|_| !dag.is_paused)),
            dag_id: dag.dag_id,
        });
    }
    Ok(Page(DagsPage { rows }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Pause {
    paused: bool,
}

pub(crate) async fn pause(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    headers: HeaderMap,
    Form(form): Form<Pause>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    commands::set_paused(&mut conn, &app.graphs, &dag_id, form.paused, &by).await?;
    app.wake.everybody();
    Ok(back(&headers, &dag_id))
}

pub(crate) async fn trigger(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    let run = commands::trigger(&mut conn, &app.graphs, &dag_id, ManualRun::default(), &by).await?;
    app.wake.everybody();
    let run = run.as_str().replace('+', "%2B").replace(':', "%3A");
    Ok(Redirect::to(&format!("/dags/{dag_id}/runs/{run}")))
}

/// To the page that the form was on: the list, or the DAG.
fn back(headers: &HeaderMap, dag_id: &DagId) -> Redirect {
    let from = headers.get("referer").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if from.ends_with("/dags") { Redirect::to("/dags") } else { Redirect::to(&format!("/dags/{dag_id}")) }
}
