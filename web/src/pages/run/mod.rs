//! One run: its tasks, its timeline, its graph, and what is to be said of it.

mod gantt;
mod tasks;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::Redirect,
};
use orchestrator::{
    commands::{self, By, Refused},
    ids::{DagId, RunId},
    state::RunType,
    store::{
        self,
        pages::{
            Page as Part,
            assets::{self, EventListed},
            instances::{self, InstanceFilter},
            runs::{self, RunListed},
            select::Direction,
        },
    },
};
use serde::Deserialize;

use self::{gantt::Gantt, tasks::TaskList};
use super::{
    act::{Deed, Done},
    dag::pane::Pane,
    links::{self, Beside},
    page::{Frame, Page, PageError, PageResult},
    picture::{Focus, Picture},
    sorting::Heading,
    ticking::Took,
    told,
    waits::{self, Why},
    words,
};
use crate::{App, auth};

/// Rows of a timeline, and nodes of a graph, that are still a picture.
const PICTURED: Part = Part { limit: 1_000, offset: 0 };

#[derive(Template)]
#[template(path = "run/page.html")]
pub(crate) struct RunPage {
    run: RunListed,
    dag_link: String,
    link: String,
    beside: Beside,
    pane: Pane,
    why: Vec<Why>,
    told: Option<String>,
    took: Took,
    now: chrono::DateTime<chrono::Utc>,
    conf: String,
    /// The updates of assets that made it.
    causes: Vec<EventListed>,
    wanted: Wanted,
    view: View,
}

/// What is shown below the head.
enum View {
    Tasks(TaskList),
    Gantt(Gantt),
    Graph(Picture),
}

/// What the page is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    view: String,
    q: String,
    state: String,
    order: String,
    offset: i64,
}

/// The views: how they are asked for, and what they are called.
const VIEWS: [(&str, &str); 3] = [("", "Tasks"), ("gantt", "Gantt"), ("graph", "Graph")];

impl Frame for RunPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        !self.run.state.is_finished()
    }
}

impl RunPage {
    /// The list of its tasks as it is shown.
    fn here(&self) -> String {
        format!("{}{}", self.link, self.wanted.query())
    }

    /// The columns by which its tasks are ordered: how each looks, and what a press on it leads to.
    fn headings(&self) -> [(&'static str, Heading, String); 5] {
        let column = |class, name, key, first| {
            let (heading, link) = self.wanted.heading(name, key, first);
            (class, heading, link)
        };
        [
            column("", "Task", "task", Direction::Ascending),
            column("", "State", "state", Direction::Ascending),
            column("num", "Try", "try", Direction::Descending),
            column("wide", "Started", "start_date", Direction::Ascending),
            column("num", "Duration", "duration", Direction::Descending),
        ]
    }

    fn views(&self) -> impl Iterator<Item = (String, &'static str, bool)> {
        VIEWS.into_iter().map(|(view, name)| {
            (format!("{}{}", self.link, links::query(&[("view", view)])), name, self.wanted.view == view)
        })
    }

    /// The run that updated an asset, if it was one that the visitor may see.
    fn source<'e>(&self, event: &'e EventListed) -> Option<(String, &'e DagId)> {
        let (dag, run) = (event.source_dag_id.as_ref()?, event.source_run_id.as_ref()?);
        auth::sees_dag(dag).then(|| (links::run(dag, run), dag))
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    Query(wanted): Query<Wanted>,
    Query(focus): Query<Focus>,
    Query(done): Query<Done>,
) -> PageResult<RunPage> {
    let mut conn = app.pool.acquire().await?;
    let found = runs::get(&mut conn, &dag_id, &run_id).await?;
    let run = found.ok_or_else(|| Refused::NoRun(dag_id.clone(), run_id.clone()))?;
    let now = store::now(&mut conn).await?;
    let graph = app.graphs.get(&mut conn, run.version).await?;
    let of_run = InstanceFilter::of_key(run.run_key);
    let view = match wanted.view.as_str() {
        "gantt" => {
            let listed = instances::list(&mut conn, &of_run, PICTURED).await?.rows;
            View::Gantt(Gantt::of(&graph, &listed, now))
        }
        "graph" => View::Graph(Picture::of(&app, &mut conn, &graph, Some(&run), focus).await?),
        _ => View::Tasks(TaskList::load(&mut conn, of_run, &graph, &wanted, now).await?),
    };
    let beside = runs::beside(&mut conn, &dag_id, run.run_key).await?;
    Ok(Page(RunPage {
        beside: Beside::of(&beside, |run| links::run(&dag_id, run)),
        pane: Pane::of_run(&app, &mut conn, &graph, &run).await?,
        why: waits::of_run(&mut conn, &run, &graph, now).await?,
        causes: match run.run_type {
            RunType::AssetTriggered => assets::causes(&mut conn, run.run_key).await?,
            _ => Vec::new(),
        },
        told: done.told(),
        dag_link: links::dag(&dag_id),
        link: links::run(&dag_id, &run_id),
        took: Took { from: run.start_date, to: run.end_date, now },
        now,
        conf: serde_json::to_string_pretty(&run.conf).unwrap_or_default(),
        run,
        wanted,
        view,
    }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Note {
    note: String,
}

/// Writes a note; an empty one takes it away.
pub(crate) async fn note(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id)): Path<(DagId, RunId)>,
    Form(Note { note }): Form<Note>,
) -> Result<Redirect, PageError> {
    let note = Some(note.trim()).filter(|note| !note.is_empty());
    commands::set_note(&mut *app.pool.acquire().await?, &dag_id, &run_id, note, &by).await?;
    Ok(told::after(&links::run(&dag_id, &run_id), told::Deed::Saved, "The note"))
}
