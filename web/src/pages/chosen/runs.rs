//! Several runs at once: first what exactly would change, then the deed, and what became of it.

use std::{collections::BTreeSet, fmt};

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use orchestrator::{
    accounts::Role,
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

use super::Back;
use crate::{
    App, auth,
    pages::{Frame, Page, PageError, PageResult, links, told, words},
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
            Self::ClearFailed => "Clear failed tasks",
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
            Self::Success => {
                "What runs is stopped and has succeeded, what has not ended is skipped; what has ended stays as it is."
            }
            Self::Failed => {
                "What runs is stopped and has failed, what has not ended is skipped; what has ended stays as it is."
            }
            Self::Delete => {
                "They are gone then, with their task instances. One that runs is not deleted: mark it first."
            }
        }
    }

    /// What becomes of its task instances.
    fn becomes(self) -> &'static str {
        match self {
            Self::Clear | Self::ClearFailed => "will be cleared",
            Self::Success => "will have succeeded or be skipped",
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

/// A run as an address names it: `DAG/RUN`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Named {
    dag_id: DagId,
    run_id: RunId,
}

impl Named {
    fn read(text: &str) -> Result<Self, PageError> {
        let (dag, run) =
            text.split_once('/').ok_or_else(|| PageError::not_found(format!("{text:?} is no run: DAG/RUN is.")))?;
        Ok(Self { dag_id: DagId::from(dag), run_id: RunId::from(run) })
    }

    fn link(&self) -> String {
        links::run(&self.dag_id, &self.run_id)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.dag_id, self.run_id)
    }
}

/// The runs and the deed, from an address or a form.
struct Wanted {
    deed: Deed,
    runs: BTreeSet<Named>,
    back: Back,
}

impl Wanted {
    /// Refused whole if whoever asks may not work on one of their DAGs.
    fn of(pairs: &[(String, String)]) -> Result<Self, PageError> {
        let named = pairs.iter().find(|(name, _)| name == "deed").map(|(_, deed)| deed.as_str()).unwrap_or_default();
        let deed = Deed::ALL.into_iter().find(|deed| deed.name() == named);
        let deed = deed.ok_or_else(|| PageError::not_found(format!("There is nothing {named:?} to do with runs.")))?;
        let runs = pairs.iter().filter(|(name, _)| name == "run").map(|(_, run)| Named::read(run));
        let runs = runs.collect::<Result<BTreeSet<_>, _>>()?;
        for run in &runs {
            auth::needs(Role::User, &run.dag_id)?;
        }
        Ok(Self { deed, runs, back: Back::of(pairs, "/runs") })
    }
}

/// A chosen run.
struct Row {
    run: Named,
    /// None: it is gone.
    state: Option<RunState>,
    /// Task instances that change, or go with it.
    touched: Option<usize>,
    /// Why nothing was done to it.
    refused: Option<String>,
}

#[derive(Template)]
#[template(path = "chosen/runs.html")]
pub(crate) struct ChosenPage {
    back: Back,
    deed: Deed,
    rows: Vec<Row>,
    /// How many of them it was done to.
    done: Option<usize>,
}

impl Frame for ChosenPage {
    const SECTION: &'static str = "runs";
}

impl ChosenPage {
    fn outcome(&self) -> Option<String> {
        Some(format!(
            "Done to {}, refused for {}.",
            words::number(self.done?, "run"),
            words::number(self.rows.len(), "run")
        ))
    }

    fn question(&self) -> String {
        format!("{} {}?", self.deed.title(), words::number(self.rows.len(), "run"))
    }
}

pub(crate) async fn ask(State(app): State<App>, Query(pairs): Query<Vec<(String, String)>>) -> PageResult<ChosenPage> {
    let Wanted { deed, runs, back } = Wanted::of(&pairs)?;
    let mut conn = app.pool.acquire().await?;
    let mut rows = Vec::with_capacity(runs.len());
    for run in runs {
        let found = runs::get(&mut conn, &run.dag_id, &run.run_id).await?;
        let found = found.ok_or_else(|| Refused::NoRun(run.dag_id.clone(), run.run_id.clone()))?;
        let touched = Some(touched(&app, &mut conn, deed, &found).await?);
        rows.push(Row { run, state: Some(found.state), touched, refused: None });
    }
    Ok(Page(ChosenPage { back, deed, rows, done: None }))
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
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let Wanted { deed, runs, back } = Wanted::of(&pairs)?;
    let mut conn = app.pool.acquire().await?;
    let (mut rows, mut done) = (Vec::new(), 0);
    for run in runs {
        match one(&app, &mut conn, deed, &run, &by).await {
            Ok(()) => done += 1,
            Err(Refused::Failed(error)) => return Err(error.into()),
            // What was refused for one is no reason to leave out the others; somebody else may have deleted it.
            Err(refused) => {
                let state = runs::get(&mut conn, &run.dag_id, &run.run_id).await?.map(|run| run.state);
                rows.push(Row { run, state, touched: None, refused: Some(refused.to_string()) });
            }
        }
    }
    app.wake.everybody();
    if rows.is_empty() {
        return Ok(back.after(deed.name(), done).into_response());
    }
    Ok(Page(ChosenPage { back, deed, rows, done: Some(done) }).into_response())
}

async fn one(app: &App, conn: &mut PgConnection, deed: Deed, run: &Named, by: &By) -> Result<(), Refused> {
    let Named { dag_id, run_id } = run;
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

/// What was done, for the page that comes after it.
pub(crate) type Done = told::Done<Deed>;

impl Done {
    /// In words.
    pub(crate) fn told(self) -> Option<String> {
        let runs = words::number(self.count, "run");
        Some(match self.done? {
            Deed::Clear | Deed::ClearFailed => format!("{runs} cleared: what can run runs again."),
            Deed::Success => format!("{runs} marked as success."),
            Deed::Failed => format!("{runs} marked as failed."),
            Deed::Delete => format!("{runs} deleted."),
        })
    }
}
