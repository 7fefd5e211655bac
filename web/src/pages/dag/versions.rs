//! The versions of a DAG, each with what it does otherwise than the one before.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use orchestrator::{
    dag::Graph,
    ids::DagId,
    store::pages::{
        Page as Part,
        select::Direction,
        versions::{self, VersionColumn, VersionFilter},
    },
};
use serde::Deserialize;

use super::{
    Head,
    difference::{Change, difference},
};
use crate::{
    App,
    pages::{Frame, Page, PageResult, pager::Pager, words::Moment},
};

/// Versions on a page.
const VERSIONS: i64 = 20;

#[derive(Template)]
#[template(path = "dag/versions.html")]
pub(crate) struct VersionsPage {
    head: Head,
    rows: Vec<Row>,
    pager: Pager,
}

struct Row {
    number: i32,
    at: Moment,
    /// None of the first one.
    changes: Option<Vec<Change>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    offset: i64,
}

impl Frame for VersionsPage {
    const SECTION: &'static str = "dags";
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    Query(wanted): Query<Wanted>,
) -> PageResult<VersionsPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, _) = Head::load(&app, &mut conn, dag_id, "/versions").await?;
    let filter = VersionFilter::default().only(VersionColumn::DagId, &head.dag_id);
    let filter = filter.order_by(VersionColumn::Number, Direction::Descending);
    // One more, to be compared with.
    let part = Part { limit: VERSIONS + 1, offset: wanted.offset.max(0) };
    let listed = versions::list(&mut conn, &filter, part).await?;
    let mut graphs: Vec<Arc<Graph>> = Vec::with_capacity(listed.rows.len());
    for version in &listed.rows {
        graphs.push(app.graphs.get(&mut conn, version.version).await?);
    }
    let rows = listed.rows.iter().enumerate().take(VERSIONS as usize).map(|(at, version)| Row {
        number: version.number,
        at: version.created_at.into(),
        changes: graphs.get(at + 1).map(|before| difference(before, &graphs[at])),
    });
    let pager = Pager::new(Part { limit: VERSIONS, ..part }, listed.total, &[]);
    Ok(Page(VersionsPage { head, rows: rows.collect(), pager }))
}
