//! One task instance: its tries and their logs, what it took and what it gave, and what it is set to.

mod log;
mod tries;
mod values;

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::Redirect,
};
use orchestrator::{
    commands::{self, By},
    dag::{Graph, TaskSpec},
    ids::{DagId, RunId, TaskId},
    state::TaskState,
    store::{
        self, logs,
        pages::{
            instances::{self, InstanceListed},
            runs,
        },
    },
    told::{Kind, Told},
};
use serde::Deserialize;
use sqlx::PgConnection;

pub(crate) use self::log::download;
use self::{log::Log, values::Values};
use super::{
    dag::pane::Pane,
    links::{self, Beside},
    page::{Frame, Page, PageError, PageResult},
    ticking::Took,
    told::{self, Deed},
    waits::{self, Why},
    words::{self, Moment},
};
use crate::App;

#[derive(Template)]
#[template(path = "task/page.html")]
pub(crate) struct TaskPage {
    instance: InstanceListed,
    dag_link: String,
    run_link: String,
    link: String,
    beside: Beside,
    pane: Pane,
    why: Option<Why>,
    operator: String,
    took: Took,
    now: chrono::DateTime<chrono::Utc>,
    attempts: Vec<tries::Row>,
    shown: i32,
    cause: Option<String>,
    /// Where more of the try is.
    elsewhere: Vec<Told>,
    wanted: Wanted,
    view: View,
}

/// What is shown below the head.
enum View {
    Log(Log),
    Values(Values),
    Details(Vec<(&'static str, String)>),
    Tries,
}

/// What the page is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    r#try: Option<i32>,
    /// Of a mapped task: which instance.
    map_index: i32,
    view: String,
    q: String,
    level: String,
    /// Only lines before this one.
    before: Option<i64>,
    /// Only lines after this one.
    after: Option<i64>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            r#try: None,
            map_index: -1,
            view: String::new(),
            q: String::new(),
            level: String::new(),
            before: None,
            after: None,
        }
    }
}

/// The views: how they are asked for, and what they are called.
const VIEWS: [(&str, &str); 4] =
    [("", "Log"), ("values", "Inputs and outputs"), ("tries", "Tries"), ("details", "Details")];

impl Frame for TaskPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        !self.instance.state.is_finished()
    }
}

impl TaskPage {
    /// This page with other parameters.
    fn with(&self, pairs: &[(&str, &str)]) -> String {
        let index = self.wanted.map_index.to_string();
        let index = if self.wanted.map_index < 0 { "" } else { &index };
        let query = links::query(&[&[("map_index", index)], pairs].concat());
        if query.is_empty() { "?".to_owned() } else { query }
    }

    fn views(&self) -> impl Iterator<Item = (String, &'static str, bool)> {
        VIEWS.into_iter().map(|(view, name)| (self.with(&[("view", view)]), name, self.wanted.view == view))
    }

    /// A try that was handed back is there once for each attempt; the last one tells how it ended.
    fn tries(&self) -> impl Iterator<Item = &tries::Row> {
        self.attempts.chunk_by(|one, next| one.number == next.number).filter_map(<[_]>::last)
    }

    fn of_try(&self, number: i32) -> String {
        self.with(&[("try", &number.to_string())])
    }

    /// The lines of the log before this one.
    fn before(&self, line: &i64) -> String {
        let (number, line) = (self.shown.to_string(), line.to_string());
        self.with(&[("try", &number), ("q", &self.wanted.q), ("level", &self.wanted.level), ("before", &line)])
    }

    /// Those after it.
    fn after(&self, line: &i64) -> String {
        let (number, line) = (self.shown.to_string(), line.to_string());
        self.with(&[("try", &number), ("q", &self.wanted.q), ("level", &self.wanted.level), ("after", &line)])
    }

    /// This line, with what is around it, whatever is searched for.
    fn line(&self, line: &i64) -> String {
        let (number, before) = (self.shown.to_string(), (line + 1).to_string());
        format!("{}#l{line}", self.with(&[("try", &number), ("before", &before)]))
    }

    /// The dialog that does something to it, with what comes after it if that is usual.
    fn act(&self, deed: &str) -> String {
        let index = self.instance.map_index.to_string();
        let index = if self.instance.map_index < 0 { "" } else { &index };
        let downstream = if deed == "clear" { "true" } else { "" };
        let task = self.instance.task_id.as_str();
        let query = links::query(&[("task", task), ("map_index", index), ("downstream", downstream)]);
        format!("{}/act/{deed}{query}", self.run_link)
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Path((dag_id, run_id, task_id)): Path<(DagId, RunId, TaskId)>,
    Query(wanted): Query<Wanted>,
) -> PageResult<TaskPage> {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &dag_id, &run_id, &task_id, wanted.map_index).await?;
    let graph = app.graphs.get(&mut conn, instance.version).await?;
    let now = store::now(&mut conn).await?;
    let ended = instances::tries(&mut conn, instance.instance).await?;
    let shown = wanted.r#try.unwrap_or(instance.try_number);
    let cause = ended.iter().rev().find(|ended| ended.try_number == shown).and_then(|ended| ended.cause.clone());
    let told = logs::told_of_try(&mut conn, instance.instance, shown).await?;
    let (elsewhere, rendered): (Vec<_>, Vec<_>) = told.into_iter().partition(|(kind, _)| *kind == Kind::Link);
    let [elsewhere, rendered] = [elsewhere, rendered].map(|told| told.into_iter().map(|(_, told)| told).collect());
    let view = match wanted.view.as_str() {
        "values" => View::Values(Values::load(&app, &mut conn, &instance, &graph, rendered).await?),
        "details" => View::Details(details(&instance, graph.task(instance.node))),
        "tries" => View::Tries,
        _ => View::Log(Log::load(&mut conn, &instance, shown, &wanted).await?),
    };
    let end = instance.end_date.filter(|_| instance.state != TaskState::Running);
    let beside = runs::beside(&mut conn, &dag_id, instance.run_key).await?;
    Ok(Page(TaskPage {
        beside: Beside::of(&beside, |run| links::task(&dag_id, run, &task_id, wanted.map_index)),
        pane: Pane::of_task(&app, &mut conn, &graph, &instance).await?,
        why: waits::of_instance(&mut conn, &instance, &graph).await?,
        operator: operator(&graph, &instance),
        took: Took { from: instance.start_date, to: end, now },
        now,
        attempts: tries::rows(&instance, &ended, now),
        dag_link: links::dag(&dag_id),
        run_link: links::run(&dag_id, &run_id),
        link: links::task(&dag_id, &run_id, &task_id, -1),
        shown,
        cause,
        elsewhere: leading_out(elsewhere),
        instance,
        wanted,
        view,
    }))
}

/// Only addresses of the web: a body may tell anything, and a `javascript:` would run as whoever looks.
fn leading_out(links: Vec<Told>) -> Vec<Told> {
    let is_web = |link: &Told| link.value.starts_with("https://") || link.value.starts_with("http://");
    links.into_iter().filter(is_web).collect()
}

async fn find(
    conn: &mut PgConnection,
    dag_id: &DagId,
    run_id: &RunId,
    task_id: &TaskId,
    map_index: i32,
) -> Result<InstanceListed, PageError> {
    let found = instances::get(conn, dag_id, run_id, task_id, map_index).await?;
    found.ok_or_else(|| match map_index {
        -1 => PageError::not_found(format!("The run {run_id} has no task {task_id}, or it is mapped.")),
        index => PageError::not_found(format!("The run {run_id} has no task {task_id} with the map index {index}.")),
    })
}

fn operator(graph: &Arc<Graph>, instance: &InstanceListed) -> String {
    graph.task(instance.node).map_or_else(String::new, |task| task.operator.clone())
}

fn details(instance: &InstanceListed, task: Option<&TaskSpec>) -> Vec<(&'static str, String)> {
    let text = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let mut details = vec![
        ("queue", instance.queue.clone()),
        ("pool", instance.pool.clone()),
        ("priority", instance.priority.to_string()),
        ("last try that may be retried", instance.max_tries.to_string()),
        ("queued", words::plain(Moment(instance.queued_at))),
        ("host", text(instance.hostname.clone())),
        ("process", text(instance.pid.map(|pid| pid.to_string()))),
        ("version", instance.version_number.to_string()),
    ];
    if let Some(task) = task {
        let timeout = task.execution_timeout.map(|timeout| words::duration(timeout.as_millis() as i64));
        details.push(("trigger rule", task.trigger_rule.as_str().to_owned()));
        details.push(("retries", task.retry.retries.to_string()));
        details.push(("retry delay", words::duration(task.retry.delay.as_millis() as i64)));
        details.push(("execution timeout", text(timeout)));
    }
    details
}

#[derive(Debug, Deserialize)]
pub(crate) struct Note {
    note: String,
    #[serde(default = "unmapped")]
    map_index: i32,
}

fn unmapped() -> i32 {
    -1
}

/// Writes a note; an empty one takes it away.
pub(crate) async fn note(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id, task_id)): Path<(DagId, RunId, TaskId)>,
    Form(Note { note, map_index }): Form<Note>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &dag_id, &run_id, &task_id, map_index).await?;
    let note = Some(note.trim()).filter(|note| !note.is_empty());
    commands::set_task_note(&mut conn, &[instance], note, &by).await?;
    Ok(told::after(&links::task(&dag_id, &run_id, &task_id, map_index), Deed::Saved, "The note"))
}
