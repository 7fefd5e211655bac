//! Clear: first what would happen, then the deed.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::Redirect,
};
use orchestrator::{
    commands::{self, By, Clear, NamedTask, Only, RunChoice, TaskChoice},
    ids::{DagId, RunId, TaskId},
    store::overrides::Chosen,
};
use serde::Deserialize;

use super::page::{Page, PageError, PageResult};
use crate::App;

#[derive(Template)]
#[template(path = "clear.html")]
pub(crate) struct ClearPage {
    dag_id: DagId,
    run_id: RunId,
    task: Option<String>,
    map_index: Option<i32>,
    downstream: bool,
    only_failed: bool,
    instances: Vec<Chosen>,
}

impl ClearPage {
    fn is_live(&self) -> bool {
        false
    }
}

/// What to clear: a task and perhaps what comes after it, or all tasks.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Choice {
    task: Option<String>,
    /// Of a mapped task: which instance; none: all.
    map_index: Option<i32>,
    #[serde(default)]
    downstream: bool,
    #[serde(default)]
    only_failed: bool,
}

impl Choice {
    fn clear(&self, dag_id: &DagId, run_id: &RunId) -> Clear {
        let named = |task: &String| NamedTask { task: TaskId::from(task.as_str()), map_index: self.map_index };
        let named = self.task.iter().map(named).collect();
        let tasks = TaskChoice { named, upstream: false, downstream: self.downstream };
        let choice = commands::Choice { dag_id: dag_id.clone(), runs: RunChoice::one(run_id.clone()), tasks };
        let only = if self.only_failed { Only::Failed } else { Only::All };
        Clear { only, ..Clear::of(choice) }
    }
}

pub(crate) async fn preview(
    State(app): State<App>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    Query(choice): Query<Choice>,
) -> PageResult<ClearPage> {
    let mut conn = app.pool.acquire().await?;
    let instances = commands::preview_clear(&mut conn, &app.graphs, &choice.clear(&dag_id, &run_id)).await?;
    let Choice { task, map_index, downstream, only_failed } = choice;
    Ok(Page(ClearPage { dag_id, run_id, task, map_index, downstream, only_failed, instances }))
}

pub(crate) async fn clear(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    Form(choice): Form<Choice>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    commands::clear(&mut conn, &app.graphs, &choice.clear(&dag_id, &run_id), &by).await?;
    app.wake.everybody();
    let run = run_id.as_str().replace('+', "%2B").replace(':', "%3A");
    Ok(Redirect::to(&format!("/dags/{dag_id}/runs/{run}")))
}
