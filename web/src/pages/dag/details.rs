//! What a DAG is set to.

use askama::Template;
use axum::extract::{Path, State};
use orchestrator::{dag::Graph, ids::DagId};

use super::Head;
use crate::{
    App,
    pages::{
        Frame, Page, PageResult,
        words::{self, Moment},
    },
};

#[derive(Template)]
#[template(path = "dag/details.html")]
pub(crate) struct DetailsPage {
    head: Head,
    settings: Vec<(&'static str, String)>,
    params: Option<String>,
}

impl Frame for DetailsPage {
    const SECTION: &'static str = "dags";
}

pub(crate) async fn show(State(app): State<App>, Path(dag_id): Path<DagId>) -> PageResult<DetailsPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, graph) = Head::load(&app, &mut conn, dag_id, "/details").await?;
    let settings = settings(&graph);
    let params = graph.params().and_then(|params| serde_json::to_string_pretty(params.schema()).ok());
    Ok(Page(DetailsPage { head, settings, params }))
}

/// The settings of a DAG, as its author names them.
pub(super) fn settings(graph: &Graph) -> Vec<(&'static str, String)> {
    let window = graph.window();
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let date = |at| words::plain(Moment(at));
    vec![
        ("schedule", graph.schedule().summary()),
        ("catchup", yes(window.catchup)),
        ("start_date", date(window.start)),
        ("end_date", date(window.end)),
        ("max_active_runs", graph.max_active_runs().to_string()),
        ("max_active_tasks", graph.max_active_tasks().to_string()),
        ("dagrun_timeout", graph.dagrun_timeout().map_or("–".to_owned(), |t| words::duration(t.as_millis() as i64))),
        ("fail_fast", yes(graph.fail_fast())),
        (
            "max_consecutive_failed_dag_runs",
            graph.max_consecutive_failed_dag_runs().map_or("–".to_owned(), |n| n.to_string()),
        ),
        ("tasks", graph.tasks().len().to_string()),
    ]
}
