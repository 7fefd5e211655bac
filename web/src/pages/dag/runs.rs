//! The runs of a DAG.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, Query, State},
};
use orchestrator::{accounts::Sight, ids::DagId};

use super::Head;
use crate::{
    App,
    pages::{
        Frame, Page, PageResult,
        chosen::runs::{Deed, Done},
        run_list::{RunList, Wanted},
        words,
    },
};

#[derive(Template)]
#[template(path = "dag/runs.html")]
pub(crate) struct RunsPage {
    head: Head,
    list: RunList,
    /// What was done.
    told: Option<String>,
}

impl RunsPage {
    fn action(&self) -> String {
        format!("{}/runs", self.head.link)
    }
}

impl Frame for RunsPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        self.list.is_running() || !self.head.is_paused
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Path(dag_id): Path<DagId>,
    Query(wanted): Query<Wanted>,
    Query(done): Query<Done>,
) -> PageResult<RunsPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, _) = Head::load(&app, &mut conn, dag_id, "/runs").await?;
    let list = RunList::load(&mut conn, wanted, &sight, Some(&head.dag_id)).await?;
    Ok(Page(RunsPage { head, list, told: done.told() }))
}
