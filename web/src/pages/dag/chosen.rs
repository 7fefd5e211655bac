//! Several runs at once: first what exactly would change, then the deed, and what became of it.

use std::{collections::BTreeSet, fmt};

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use orchestrator::{
    commands::{self, By, Choice, Clear, MarkedRun, Only, Refused, RunChoice, TaskChoice},
    ids::{DagId, RunId},
    state::RunState,
    store::pages::{
        Page as Part,
        instances::{self, InstanceFilter},
        runs::{self, RunListed},
    },
};
use serde::Deserialize;
use sqlx::PgConnection;

use crate::{
    App,
    pages::{Frame, Page, PageError, PageResult, links, words},
};

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
    Clear,
    ClearFailed,
    Success,
    Failed,
    Delete,
}

impl Deed {
    pub(crate) const ALL: [Self; 5] = [Self::Clear, Self::ClearFailed, Self::Success, Self::Failed, Self::Delete];

    /// As an address names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::ClearFailed => "clear_failed",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Delete => "delete",
        }
    }

    /// As a button names it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Clear => "Clear",
            Self::ClearFailed => "Clear what failed",
            Self::Success => "Mark as success",
            Self::Failed => "Mark as failed",
            Self::Delete => "Delete",
        }
    }

    /// What it means.
    fn means(self) -> &'static str {
        match self {
            Self::Clear | Self::ClearFailed => {
                "They go back to the beginning and run again; what runs now is stopped first. Earlier tries and logs stay."
            }
            Self::Success => "Every task instance has succeeded then, but for the teardowns that are still to run.",
            Self::Failed => "What runs is stopped and has failed, what has not ended is skipped.",
            Self::Delete => {
                "They are gone then, with their task instances. One that runs is not deleted: mark it first."
            }
        }
    }

    /// What becomes of its task instances.
    fn becomes(self) -> &'static str {
        match self {
            Self::Clear | Self::ClearFailed => "will be cleared",
            Self::Success => "will have succeeded",
            Self::Failed => "will have failed or be skipped",
            Self::Delete => "will be gone with it",
        }
    }

    fn clear(self, dag_id: &DagId, run_id: &RunId) -> Option<Clear> {
        let only = match self {
            Self::Clear => Only::All,
            Self::ClearFailed => Only::Failed,
            _ => return None,
        };
        let runs = RunChoice::one(run_id.clone());
        Some(Clear { only, ..Clear::of(Choice { dag_id: dag_id.clone(), runs, tasks: TaskChoice::default() }) })
    }
}

/// The runs and the deed, from an address or a form.
struct Wanted {
    deed: Deed,
    runs: Vec<RunId>,
}

impl Wanted {
    fn of(pairs: Vec<(String, String)>) -> Result<Self, PageError> {
        let named = pairs.iter().find(|(name, _)| name == "deed").map(|(_, deed)| deed.as_str()).unwrap_or_default();
        let deed = Deed::ALL.into_iter().find(|deed| deed.name() == named);
        let deed = deed.ok_or_else(|| PageError::not_found(format!("There is nothing {named:?} to do with runs.")))?;
        let runs: BTreeSet<_> =
            pairs.into_iter().filter(|(name, _)| name == "run").map(|(_, run)| RunId::from(run)).collect();
        Ok(Self { deed, runs: runs.into_iter().collect() })
    }
}

/// A chosen run.
struct Row {
    run_id: RunId,
    link: String,
    /// None: it is gone.
    state: Option<RunState>,
    /// Task instances that change, or go with it.
    touched: Option<usize>,
    /// Why nothing was done to it.
    refused: Option<String>,
}

#[derive(Template)]
#[template(path = "dag/chosen.html")]
pub(crate) struct ChosenPage {
    dag_id: DagId,
    link: String,
    deed: Deed,
    rows: Vec<Row>,
    /// How many of them it was done to.
    done: Option<usize>,
}

impl Frame for ChosenPage {
    const SECTION: &'static str = "dags";
}

impl ChosenPage {
    fn outcome(&self) -> Option<String> {
        Some(format!("Done to {}, refused for {}.", Runs(self.done?), Runs(self.rows.len())))
    }

    fn question(&self) -> String {
        format!("{} {}?", self.deed.title(), Runs(self.rows.len()))
    }
}

/// A number of runs.
struct Runs(usize);

impl fmt::Display for Runs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} run{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

pub(crate) async fn ask(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> PageResult<ChosenPage> {
    let Wanted { deed, runs } = Wanted::of(pairs)?;
    let mut conn = app.pool.acquire().await?;
    let mut rows = Vec::with_capacity(runs.len());
    for run_id in runs {
        let run = find(&mut conn, &dag_id, run_id).await?;
        let touched = Some(touched(&app, &mut conn, deed, &run).await?);
        let link = links::run(&dag_id, &run.run_id);
        rows.push(Row { run_id: run.run_id, link, state: Some(run.state), touched, refused: None });
    }
    Ok(Page(ChosenPage { link: links::dag(&dag_id), dag_id, deed, rows, done: None }))
}

async fn touched(app: &App, conn: &mut PgConnection, deed: Deed, run: &RunListed) -> Result<usize, PageError> {
    let of = (&run.dag_id, &run.run_id);
    let state = match deed {
        Deed::Success => MarkedRun::Success,
        Deed::Failed => MarkedRun::Failed,
        Deed::Delete => {
            let none = Part { limit: 0, offset: 0 };
            let listed = instances::list(conn, &InstanceFilter::of_key(run.run_key), none).await?;
            return Ok(usize::try_from(listed.total).unwrap_or_default());
        }
        Deed::Clear | Deed::ClearFailed => {
            let Some(clear) = deed.clear(of.0, of.1) else { return Ok(0) };
            return Ok(commands::preview_clear(conn, &app.graphs, &clear).await?.len());
        }
    };
    Ok(commands::foresee_mark_run(conn, &app.graphs, of, state).await?.len())
}

pub(crate) async fn act(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let Wanted { deed, runs } = Wanted::of(pairs)?;
    let mut conn = app.pool.acquire().await?;
    let (mut rows, mut done) = (Vec::new(), 0);
    for run_id in runs {
        match one(&app, &mut conn, deed, &dag_id, &run_id, &by).await {
            Ok(()) => done += 1,
            Err(Refused::Failed(error)) => return Err(error.into()),
            // What was refused for one is no reason to leave out the others; somebody else may have deleted it.
            Err(refused) => {
                let state = runs::get(&mut conn, &dag_id, &run_id).await?.map(|run| run.state);
                let link = links::run(&dag_id, &run_id);
                rows.push(Row { run_id, link, state, touched: None, refused: Some(refused.to_string()) });
            }
        }
    }
    app.wake.everybody();
    if rows.is_empty() {
        let told = links::query(&[("done", deed.name()), ("count", &done.to_string())]);
        return Ok(Redirect::to(&format!("{}/runs{told}", links::dag(&dag_id))).into_response());
    }
    Ok(Page(ChosenPage { link: links::dag(&dag_id), dag_id, deed, rows, done: Some(done) }).into_response())
}

async fn one(
    app: &App,
    conn: &mut PgConnection,
    deed: Deed,
    dag_id: &DagId,
    run_id: &RunId,
    by: &By,
) -> Result<(), Refused> {
    let state = match deed {
        Deed::Success => MarkedRun::Success,
        Deed::Failed => MarkedRun::Failed,
        Deed::Delete => return commands::delete_run(conn, dag_id, run_id, by).await,
        Deed::Clear | Deed::ClearFailed => {
            let Some(clear) = deed.clear(dag_id, run_id) else { return Ok(()) };
            return commands::clear(conn, &app.graphs, &clear, by).await.map(drop);
        }
    };
    commands::mark_run(conn, &app.graphs, dag_id, run_id, state, by).await
}

async fn find(conn: &mut PgConnection, dag_id: &DagId, run_id: RunId) -> Result<RunListed, PageError> {
    let found = runs::get(conn, dag_id, &run_id).await?;
    Ok(found.ok_or_else(|| Refused::NoRun(dag_id.clone(), run_id))?)
}

/// What was done, for the page that comes after it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Done {
    done: Option<Deed>,
    #[serde(default)]
    count: usize,
}

impl Done {
    /// In words.
    pub(crate) fn told(self) -> Option<String> {
        let runs = Runs(self.count);
        Some(match self.done? {
            Deed::Clear | Deed::ClearFailed => format!("{runs} cleared: what can run runs again."),
            Deed::Success => format!("{runs} marked as success."),
            Deed::Failed => format!("{runs} marked as failed."),
            Deed::Delete => format!("{runs} deleted."),
        })
    }
}
