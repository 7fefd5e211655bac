//! The graph, with the states of the latest run.

use askama::Template;
use axum::extract::{Path, Query, State};
use orchestrator::{ids::DagId, store::pages::runs};

use super::Head;
use crate::{
    App,
    pages::{
        Frame, Page, PageResult, links,
        picture::{Focus, Picture},
    },
};

#[derive(Template)]
#[template(path = "dag/graph.html")]
pub(crate) struct GraphPage {
    head: Head,
    picture: Picture,
    /// The run whose states are shown, with its link.
    run: Option<(String, String)>,
}

impl Frame for GraphPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        self.run.is_some()
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    Query(focus): Query<Focus>,
) -> PageResult<GraphPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, graph) = Head::load(&app, &mut conn, dag_id, "/graph").await?;
    let latest = runs::latest(&mut conn, &head.dag_id).await?;
    let picture = Picture::of(&app, &mut conn, &graph, latest.as_ref(), focus).await?;
    let run = latest.map(|run| (links::run(&run.dag_id, &run.run_id), run.run_id.to_string()));
    Ok(Page(GraphPage { head, picture, run }))
}
