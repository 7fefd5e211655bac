//! The dialogs that change what has happened, clear and mark: first what exactly would change, then the deed.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::Redirect,
};
use orchestrator::{
    commands::{self, By, Change, Clear, Mark, Marked, MarkedRun, NamedTask, Only, Refused, RunChoice, TaskChoice},
    ids::{DagId, RunId, TaskId},
    state::TaskState,
    store::pages::runs,
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    links,
    page::{Frame, Page, PageError, PageResult},
    told, words,
};
use crate::App;

/// Rows of a preview.
const SHOWN: usize = 500;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
    Clear,
    Success,
    Failed,
    Skipped,
}

impl Deed {
    pub(crate) const ALL: [Self; 4] = [Self::Clear, Self::Success, Self::Failed, Self::Skipped];

    fn marked(self) -> Option<Marked> {
        match self {
            Self::Clear => None,
            Self::Success => Some(Marked::Success),
            Self::Failed => Some(Marked::Failed),
            Self::Skipped => Some(Marked::Skipped),
        }
    }

    /// As an address names it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// As a button names it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Clear => "Clear",
            Self::Success => "Mark as success",
            Self::Failed => "Mark as failed",
            Self::Skipped => "Mark as skipped",
        }
    }

    /// What it means for task instances.
    pub(crate) fn means(self) -> &'static str {
        match self {
            Self::Clear => {
                "They go back to the beginning and run again; what runs now is stopped first. Their earlier tries and logs stay."
            }
            _ => {
                "They count as having ended so; what failed after them is cleared, so that the run goes on from there."
            }
        }
    }
}

/// To what it is done: a task and perhaps what is around it, or all of a run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct To {
    task: String,
    /// Of a mapped task: which instance; none: all.
    map_index: Option<i32>,
    upstream: bool,
    downstream: bool,
    past: bool,
    future: bool,
    only_failed: bool,
}

impl To {
    fn choice(&self, dag_id: &DagId, run_id: &RunId) -> commands::Choice {
        let named = (!self.task.is_empty())
            .then(|| NamedTask { task: TaskId::from(self.task.as_str()), map_index: self.map_index });
        commands::Choice {
            dag_id: dag_id.clone(),
            runs: RunChoice::Around { run_id: run_id.clone(), past: self.past, future: self.future },
            tasks: TaskChoice {
                named: named.into_iter().collect(),
                upstream: self.upstream,
                downstream: self.downstream,
            },
        }
    }

    fn only(&self) -> Only {
        if self.only_failed { Only::Failed } else { Only::All }
    }
}

#[derive(Template)]
#[template(path = "act.html")]
pub(crate) struct ActPage {
    dag_id: DagId,
    run_id: RunId,
    dag_link: String,
    link: String,
    deed: Deed,
    to: To,
    count: usize,
    changes: Vec<Change>,
}

impl Frame for ActPage {
    const SECTION: &'static str = "dags";
}

impl ActPage {
    /// What of the choice can be changed here, each with its name and whether it is so.
    fn options(&self) -> Vec<(&'static str, &'static str, bool)> {
        let around = [("past", "and in earlier runs", self.to.past), ("future", "and in later runs", self.to.future)];
        let of_task = [
            ("upstream", "and all before it", self.to.upstream),
            ("downstream", "and all after it", self.to.downstream),
        ];
        let failed = ("only_failed", "only what failed", self.to.only_failed);
        let of_task = of_task.into_iter().filter(|_| !self.to.task.is_empty());
        of_task.chain(around).chain((self.deed == Deed::Clear).then_some(failed)).collect()
    }

    /// Whether a whole run is marked, which says how the run ended.
    fn is_of_run(&self) -> bool {
        self.deed != Deed::Clear && self.to.task.is_empty()
    }
}

/// What becomes of a task instance, in words.
pub(crate) fn then(change: &Change) -> String {
    match change.then {
        TaskState::None if change.of.state == TaskState::Running => "stops, and begins again".to_owned(),
        TaskState::None => "begins again".to_owned(),
        state => words::spoken(state),
    }
}

async fn foresee(
    app: &App,
    conn: &mut PgConnection,
    (dag_id, run_id, deed): (&DagId, &RunId, Deed),
    to: &To,
) -> Result<Vec<Change>, Refused> {
    match deed.marked() {
        Some(state) if to.task.is_empty() => {
            commands::foresee_mark_run(conn, &app.graphs, (dag_id, run_id), of_run(state)?).await
        }
        _ => foresee_choice(app, conn, deed, (to.choice(dag_id, run_id), to.only())).await,
    }
}

/// What a deed would change of a choice of task instances.
pub(crate) async fn foresee_choice(
    app: &App,
    conn: &mut PgConnection,
    deed: Deed,
    (choice, only): (commands::Choice, Only),
) -> Result<Vec<Change>, Refused> {
    let Some(state) = deed.marked() else {
        let clear = Clear { only, ..Clear::of(choice) };
        let cleared = commands::preview_clear(conn, &app.graphs, &clear).await?;
        return Ok(cleared.into_iter().map(|of| Change { of, then: TaskState::None }).collect());
    };
    commands::foresee_mark(conn, &app.graphs, &Mark { choice, state }).await
}

/// Does it, to so many.
pub(crate) async fn act_on_choice(
    app: &App,
    conn: &mut PgConnection,
    deed: Deed,
    (choice, only): (commands::Choice, Only),
    by: &By,
) -> Result<usize, Refused> {
    let changed = match deed.marked() {
        None => commands::clear(conn, &app.graphs, &Clear { only, ..Clear::of(choice) }, by).await?,
        Some(state) => commands::mark(conn, &app.graphs, &Mark { choice, state }, by).await?,
    };
    Ok(changed.len())
}

fn of_run(state: Marked) -> Result<MarkedRun, Refused> {
    match state {
        Marked::Success => Ok(MarkedRun::Success),
        Marked::Failed => Ok(MarkedRun::Failed),
        Marked::Skipped => Err(Refused::Invalid("a run cannot be skipped".to_owned())),
    }
}

pub(crate) async fn ask(
    State(app): State<App>,
    Path((dag_id, run_id, deed)): Path<(DagId, RunId, Deed)>,
    Query(to): Query<To>,
) -> PageResult<ActPage> {
    let mut conn = app.pool.acquire().await?;
    let found = runs::get(&mut conn, &dag_id, &run_id).await?;
    found.ok_or_else(|| Refused::NoRun(dag_id.clone(), run_id.clone()))?;
    let mut changes = foresee(&app, &mut conn, (&dag_id, &run_id, deed), &to).await?;
    let count = changes.len();
    changes.truncate(SHOWN);
    let (dag_link, link) = (links::dag(&dag_id), links::run(&dag_id, &run_id));
    Ok(Page(ActPage { dag_id, run_id, dag_link, link, deed, to, count, changes }))
}

pub(crate) async fn act(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((dag_id, run_id, deed)): Path<(DagId, RunId, Deed)>,
    Form(to): Form<To>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    let count = match deed.marked() {
        Some(state) if to.task.is_empty() => {
            commands::mark_run(&mut conn, &app.graphs, &dag_id, &run_id, of_run(state)?, &by).await?;
            1
        }
        _ => act_on_choice(&app, &mut conn, deed, (to.choice(&dag_id, &run_id), to.only()), &by).await?,
    };
    app.wake.everybody();
    Ok(told::after_all(&links::run(&dag_id, &run_id), deed.path(), count))
}

/// What was done, for the page that comes after it.
pub(crate) type Done = told::Done<Deed>;

impl Done {
    /// In words.
    pub(crate) fn told(self) -> Option<String> {
        let instances = words::number(self.count, "task instance");
        Some(match self.done? {
            Deed::Clear => format!("{instances} cleared: what can run runs again."),
            deed => format!("Marked as {}.", deed.path()),
        })
    }
}
