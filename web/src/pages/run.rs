//! One run.

use askama::Template;
use axum::extract::{Path, State};
use orchestrator::{
    commands::Refused,
    ids::{DagId, RunId, TaskId},
    state::{RunState, TaskState},
    store::{
        self,
        pages::{
            Page as Part, dags,
            instances::{self, InstanceFilter},
            runs,
        },
    },
};

use super::page::{Page, PageResult, instant, took};
use crate::App;

/// More than anybody reads on one page.
const TASKS: Part = Part { limit: 5_000, offset: 0 };

#[derive(Template)]
#[template(path = "run.html")]
pub(crate) struct RunPage {
    dag_id: DagId,
    run_id: RunId,
    state: RunState,
    waits: Option<String>,
    run_type: &'static str,
    logical_date: String,
    start: String,
    took: String,
    conf: String,
    tasks: Vec<Row>,
}

struct Row {
    task_id: TaskId,
    map_index: i32,
    state: TaskState,
    try_number: String,
    start: String,
    took: String,
}

impl RunPage {
    fn is_live(&self) -> bool {
        !self.state.is_finished()
    }
}

pub(crate) async fn show(State(app): State<App>, Path((dag_id, run_id)): Path<(DagId, RunId)>) -> PageResult<RunPage> {
    let mut conn = app.pool.acquire().await?;
    let found = runs::get(&mut conn, &dag_id, &run_id).await?;
    let run = found.ok_or_else(|| Refused::NoRun(dag_id.clone(), run_id.clone()))?;
    let is_paused = dags::get(&mut conn, &dag_id).await?.is_some_and(|dag| dag.is_paused);
    let now = store::now(&mut conn).await?;
    let filter = InstanceFilter::of_run(&dag_id, &run_id).in_order();
    let tasks = instances::list(&mut conn, &filter, TASKS).await?.rows.into_iter().map(|task| Row {
        state: task.state,
        try_number: if task.try_number == 0 { "–".to_owned() } else { task.try_number.to_string() },
        start: instant(task.start_date),
        took: took(task.start_date, task.end_date, now),
        task_id: task.task_id,
        map_index: task.map_index,
    });
    Ok(Page(RunPage {
        waits: why_it_waits(run.state, is_paused, run.run_after > now),
        state: run.state,
        run_type: run.run_type.as_str(),
        logical_date: instant(run.logical_date),
        start: instant(run.start_date),
        took: took(run.start_date, run.end_date, now),
        conf: run.conf.to_string(),
        tasks: tasks.collect(),
        dag_id,
        run_id,
    }))
}

fn why_it_waits(state: RunState, is_paused: bool, is_early: bool) -> Option<String> {
    if state != RunState::Queued {
        return None;
    }
    let why = match (is_paused, is_early) {
        (true, _) => "It waits until the DAG is unpaused.",
        (false, true) => "Its time has not come.",
        (false, false) => "It waits for the runs before it (max_active_runs), or for a scheduler.",
    };
    Some(why.to_owned())
}
