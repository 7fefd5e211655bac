//! One DAG: a view a file, all under one head.

pub(crate) mod backfills;
pub(crate) mod calendar;
mod cells;
pub(crate) mod code;
pub(crate) mod delete;
pub(crate) mod details;
mod difference;
pub(crate) mod graph;
pub(crate) mod grid;
mod highlight;
pub(crate) mod pane;
mod rows;
pub(crate) mod runs;
pub(crate) mod tasks;
pub(crate) mod versions;

use std::sync::Arc;

use orchestrator::{
    commands::Refused,
    dag::Graph,
    ids::DagId,
    state::RunState,
    store::{
        self,
        pages::{self as read, dags},
    },
};
use sqlx::PgConnection;

use self::pane::Pane;
use super::{links, page::PageError, ticking::Away, words::Moment};
use crate::App;

/// What stands above every view of a DAG.
pub(crate) struct Head {
    pub(crate) dag_id: DagId,
    pub(crate) link: String,
    view: &'static str,
    is_paused: bool,
    description: Option<String>,
    schedule: String,
    next_run: Option<(Moment, Away)>,
    owner: String,
    tags: Vec<String>,
    version: i32,
    latest: Option<Latest>,
    /// How many runs are running, and how many may be.
    active: (usize, u32),
    /// The grid beside the view, unless it has all of the width.
    pane: Option<Pane>,
}

/// The latest run.
struct Latest {
    link: String,
    state: RunState,
    at: Moment,
}

/// The views: their paths, and what they are called.
const VIEWS: [(&str, &str); 9] = [
    ("", "Grid"),
    ("/graph", "Graph"),
    ("/runs", "Runs"),
    ("/calendar", "Calendar"),
    ("/tasks", "Tasks"),
    ("/backfills", "Backfills"),
    ("/code", "Code"),
    ("/versions", "Versions"),
    ("/details", "Details"),
];

/// Views that need all of the width, or are the grid.
const WIDE: [&str; 2] = ["", "/graph"];

impl Head {
    /// The head, and the graph of the version that new runs get.
    async fn load(
        app: &App,
        conn: &mut PgConnection,
        dag_id: DagId,
        view: &'static str,
    ) -> Result<(Self, Arc<Graph>), PageError> {
        let dag = dags::get(conn, &dag_id).await?.ok_or(Refused::NoDag(dag_id))?;
        let graph = app.graphs.get(conn, dag.version).await?;
        let now = store::now(conn).await?;
        let latest = read::runs::latest(conn, &dag.dag_id).await?.map(|run| Latest {
            link: links::run(&run.dag_id, &run.run_id),
            state: run.state,
            at: run.run_after.into(),
        });
        let running = store::runs::running(conn, &dag.dag_id).await?.len();
        let pane = if WIDE.contains(&view) { None } else { Pane::of_dag(app, conn, &graph).await? };
        let head = Self {
            pane,
            latest,
            active: (running, graph.max_active_runs()),
            link: links::dag(&dag.dag_id),
            view,
            is_paused: dag.is_paused,
            description: graph.description().map(ToOwned::to_owned),
            schedule: graph.schedule().in_words(),
            next_run: dag.next_run_at.filter(|_| !dag.is_paused).map(|at| (at.into(), Away { at, now })),
            owner: graph.owner().to_owned(),
            tags: graph.tags().to_vec(),
            version: dag.version_number,
            dag_id: dag.dag_id,
        };
        Ok((head, graph))
    }

    /// The views, each with its link and whether it is shown.
    fn views(&self) -> impl Iterator<Item = (String, &'static str, bool)> {
        VIEWS.into_iter().map(|(path, name)| (format!("{}{path}", self.link), name, path == self.view))
    }
}
