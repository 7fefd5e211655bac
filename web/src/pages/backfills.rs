//! Backfills: how far they are, and what may be done with them.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::Redirect,
};
use orchestrator::{
    accounts::Role,
    commands::{self, By},
    ids::{BackfillId, DagId},
    state::RunState,
    store::{
        backfills::{self, BackfillRow, Progress},
        pages::Page as Part,
    },
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    links,
    page::{Frame, Page, PageError, PageResult},
    pager::Pager,
    told, words,
};
use crate::{App, auth::needs};

/// Backfills on a page.
const ROWS: i64 = 50;

#[derive(Template)]
#[template(path = "backfills.html")]
pub(crate) struct BackfillsPage {
    list: List,
}

impl Frame for BackfillsPage {
    const SECTION: &'static str = "backfills";

    fn is_live(&self) -> bool {
        self.list.is_live()
    }
}

/// Some backfills.
pub(super) struct List {
    pub(super) rows: Vec<Row>,
    pub(super) pager: Pager,
}

pub(super) struct Row {
    pub(super) of: BackfillRow,
    /// How many of its runs are in which state.
    pub(super) runs: Vec<(RunState, i64)>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    offset: i64,
}

impl List {
    /// The backfills of a DAG, or of all.
    pub(super) async fn load(conn: &mut PgConnection, dag: Option<&DagId>, wanted: Wanted) -> sqlx::Result<Self> {
        let all = backfills::list(conn, dag, None).await?;
        let part = Part { limit: ROWS, offset: wanted.offset.max(0) };
        let pager = Pager::new(part, all.len() as i64, &[]);
        let shown: Vec<_> = all.into_iter().skip(part.offset as usize).take(ROWS as usize).collect();
        let ids: Vec<_> = shown.iter().map(|row| row.backfill_id).collect();
        let progress = backfills::progress(conn, &ids).await?;
        let row = |of: BackfillRow| {
            let mine = progress.iter().filter(|part| part.backfill_id == of.backfill_id);
            let runs = mine.map(|Progress { state, runs, .. }| (*state, *runs)).collect();
            Row { of, runs }
        };
        Ok(Self { rows: shown.into_iter().map(row).collect(), pager })
    }

    pub(super) fn is_live(&self) -> bool {
        self.rows.iter().any(|row| row.of.completed_at.is_none())
    }
}

pub(crate) async fn show(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageResult<BackfillsPage> {
    Ok(Page(BackfillsPage { list: List::load(&mut *app.pool.acquire().await?, None, wanted).await? }))
}

/// What is done with a backfill.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
    Pause,
    Unpause,
    Cancel,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Back {
    #[serde(default)]
    back: String,
}

pub(crate) async fn act(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path((id, deed)): Path<(i64, Deed)>,
    Form(Back { back }): Form<Back>,
) -> Result<Redirect, PageError> {
    let (mut conn, id) = (app.pool.acquire().await?, BackfillId(id));
    needs(Role::User, &commands::find_backfill(&mut conn, id).await?.dag_id)?;
    match deed {
        Deed::Pause => commands::pause_backfill(&mut conn, id, true, &by).await?,
        Deed::Unpause => commands::pause_backfill(&mut conn, id, false, &by).await?,
        Deed::Cancel => commands::cancel_backfill(&mut conn, &app.graphs, id, &by).await?,
    }
    drop(conn);
    app.wake.everybody();
    let done = match deed {
        Deed::Pause => told::Deed::Paused,
        Deed::Unpause => told::Deed::Resumed,
        Deed::Cancel => told::Deed::Cancelled,
    };
    Ok(told::after(&links::local(&back), done, &format!("Backfill {}", id.0)))
}
