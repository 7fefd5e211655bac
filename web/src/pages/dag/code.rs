//! What a DAG's author wrote.

use askama::Template;
use axum::extract::{Path, Query, State};
use orchestrator::{
    ids::DagId,
    store::pages::{
        Page as Part, dags,
        select::Direction,
        versions::{self, VersionColumn, VersionFilter},
    },
};
use serde::Deserialize;

use super::{
    Head,
    highlight::{self, Piece},
};
use crate::{
    App,
    pages::{Frame, Page, PageResult},
};

/// Versions that can be chosen.
const VERSIONS: Part = Part { limit: 100, offset: 0 };

#[derive(Template)]
#[template(path = "dag/code.html")]
pub(crate) struct CodePage {
    head: Head,
    file: Option<String>,
    /// What was written, line by line.
    source: Option<Vec<Vec<Piece>>>,
    shown: Option<i32>,
    versions: Vec<i32>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    version: Option<i32>,
}

impl Frame for CodePage {
    const SECTION: &'static str = "dags";
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    Query(wanted): Query<Wanted>,
) -> PageResult<CodePage> {
    let mut conn = app.pool.acquire().await?;
    let (head, _) = Head::load(&app, &mut conn, dag_id, "/code").await?;
    let file = dags::get(&mut conn, &head.dag_id).await?.and_then(|dag| dag.file);
    let filter = VersionFilter::default().only(VersionColumn::DagId, &head.dag_id);
    let filter = filter.order_by(VersionColumn::Number, Direction::Descending);
    let versions = versions::list(&mut conn, &filter, VERSIONS).await?.rows;
    let found = versions::source(&mut conn, &head.dag_id, wanted.version).await?;
    Ok(Page(CodePage {
        head,
        file,
        shown: found.as_ref().map(|found| found.number),
        source: found.and_then(|found| found.source).map(|source| highlight::lines(&source)),
        versions: versions.into_iter().map(|version| version.number).collect(),
    }))
}
