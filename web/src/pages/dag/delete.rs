//! A DAG goes: first what would go with it, then the deed.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::Redirect,
};
use orchestrator::{
    commands::{self, By},
    ids::DagId,
    store::{
        dags,
        pages::{
            Page as Part,
            runs::{self, RunColumn, RunFilter},
        },
    },
};

use super::Head;
use crate::{
    App,
    pages::{
        Frame, Page, PageError, PageResult,
        told::{self, Deed},
    },
};

const COUNTED: Part = Part { limit: 1, offset: 0 };

#[derive(Template)]
#[template(path = "dag/delete.html")]
pub(crate) struct DeletePage {
    head: Head,
    runs: i64,
    /// Whether all of its runs have ended.
    is_at_rest: bool,
}

impl Frame for DeletePage {
    const SECTION: &'static str = "dags";
}

pub(crate) async fn ask(State(app): State<App>, Path(dag_id): Path<DagId>) -> PageResult<DeletePage> {
    let mut conn = app.pool.acquire().await?;
    let (head, _) = Head::load(&app, &mut conn, dag_id, "/details").await?;
    let of_dag = RunFilter::default().only(RunColumn::DagId, head.dag_id.clone());
    let runs = runs::list(&mut conn, &of_dag, COUNTED).await?.total;
    let is_at_rest = dags::is_at_rest(&mut conn, &head.dag_id).await?;
    Ok(Page(DeletePage { head, runs, is_at_rest }))
}

pub(crate) async fn act(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
) -> Result<Redirect, PageError> {
    commands::delete_dag(&mut *app.pool.acquire().await?, &dag_id, &by).await?;
    Ok(told::after("/dags", Deed::Deleted, dag_id.as_str()))
}
