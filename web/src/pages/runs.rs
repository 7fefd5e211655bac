//! The runs of all DAGs.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
};
use orchestrator::accounts::Sight;

use super::{
    chosen::runs::{Deed, Done},
    page::{Frame, Page, PageResult},
    run_list::{RunList, Wanted},
    words,
};
use crate::App;

#[derive(Template)]
#[template(path = "runs.html")]
pub(crate) struct AllRunsPage {
    list: RunList,
    /// What was done.
    told: Option<String>,
}

impl Frame for AllRunsPage {
    const SECTION: &'static str = "runs";

    fn is_live(&self) -> bool {
        true
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Query(wanted): Query<Wanted>,
    Query(done): Query<Done>,
) -> PageResult<AllRunsPage> {
    let mut conn = app.pool.acquire().await?;
    let list = RunList::load(&mut conn, wanted, &sight, None).await?;
    Ok(Page(AllRunsPage { list, told: done.told() }))
}
