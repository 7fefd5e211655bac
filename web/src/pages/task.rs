//! One task instance: its tries and their logs.

use askama::Template;
use axum::extract::{Path, Query, State};
use orchestrator::{
    ids::{DagId, RunId, TaskId},
    state::TaskState,
    store::{self, logs, pages::instances},
};
use serde::Deserialize;

use super::page::{Page, PageError, PageResult, instant, took};
use crate::App;

/// Lines of a log on the page.
const LINES: i64 = 5_000;

#[derive(Template)]
#[template(path = "task.html")]
pub(crate) struct TaskPage {
    dag_id: DagId,
    run_id: RunId,
    task_id: TaskId,
    map_index: i32,
    state: TaskState,
    waits: Option<String>,
    operator: String,
    start: String,
    took: String,
    tries: Vec<Try>,
    shown: i32,
    cause: Option<String>,
    lines: Vec<Line>,
    is_cut: bool,
}

struct Try {
    number: i32,
    state: TaskState,
}

struct Line {
    at: String,
    level: String,
    message: String,
}

impl TaskPage {
    fn is_live(&self) -> bool {
        !self.state.is_finished()
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Choice {
    r#try: Option<i32>,
    /// Of a mapped task: which instance.
    #[serde(default = "unmapped")]
    map_index: i32,
}

fn unmapped() -> i32 {
    -1
}

pub(crate) async fn show(
    State(app): State<App>,
    Path((dag_id, run_id, task_id)): Path<(DagId, RunId, TaskId)>,
    Query(choice): Query<Choice>,
) -> PageResult<TaskPage> {
    let mut conn = app.pool.acquire().await?;
    let found = instances::get(&mut conn, &dag_id, &run_id, &task_id, choice.map_index).await?;
    let instance = found.ok_or_else(|| match choice.map_index {
        -1 => PageError::not_found(format!("The run {run_id} has no task {task_id}, or it is mapped.")),
        index => PageError::not_found(format!("The run {run_id} has no task {task_id} with the map index {index}.")),
    })?;
    let graph = app.graphs.get(&mut conn, instance.version).await?;
    let now = store::now(&mut conn).await?;
    let ended = instances::tries(&mut conn, instance.instance).await?;
    let mut tries: Vec<Try> = ended.iter().map(|ended| Try { number: ended.try_number, state: ended.state }).collect();
    tries.dedup_by_key(|listed| listed.number);
    if instance.try_number > 0 && tries.last().is_none_or(|last| last.number < instance.try_number) {
        tries.push(Try { number: instance.try_number, state: instance.state });
    }
    let shown = choice.r#try.unwrap_or(instance.try_number);
    let cause = ended.iter().rev().find(|ended| ended.try_number == shown).and_then(|ended| ended.cause.clone());
    let lines = logs::of_try(&mut conn, instance.instance, shown, 0, LINES).await?;
    Ok(Page(TaskPage {
        state: instance.state,
        waits: why_it_waits(instance.state, instance.due_at),
        operator: graph.task(instance.node).map_or_else(String::new, |task| task.operator.clone()),
        start: instant(instance.start_date),
        took: took(instance.start_date, instance.end_date, now),
        tries,
        shown,
        cause,
        is_cut: lines.len() as i64 == LINES,
        lines: lines
            .into_iter()
            .map(|line| Line {
                at: line.logged_at.format("%H:%M:%S%.3f").to_string(),
                level: line.level,
                message: line.message,
            })
            .collect(),
        dag_id,
        run_id,
        task_id,
        map_index: instance.map_index,
    }))
}

fn why_it_waits(state: TaskState, due_at: Option<chrono::DateTime<chrono::Utc>>) -> Option<String> {
    match state {
        TaskState::None => Some("It waits for the tasks before it.".to_owned()),
        TaskState::Queued => Some("It waits for a free slot of a worker.".to_owned()),
        TaskState::UpForRetry => Some(format!("Its next try is due at {}.", instant(due_at))),
        TaskState::Restarting => Some("It was cleared while it ran; its worker stops it.".to_owned()),
        _ => None,
    }
}
