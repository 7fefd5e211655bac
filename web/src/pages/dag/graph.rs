//! The graph, with the states of the latest run.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, State};
use orchestrator::{
    ids::DagId,
    store::pages::{
        Page as Part, instances,
        runs::{self, RunColumn, RunFilter},
        select::Direction,
    },
};

use super::Head;
use crate::{
    App,
    pages::{
        Frame, Page, PageResult,
        drawing::{Drawing, Look, draw},
        links,
    },
};

#[derive(Template)]
#[template(path = "dag/graph.html")]
pub(crate) struct GraphPage {
    head: Head,
    drawing: Drawing,
    /// The run whose states are shown, with its link.
    run: Option<(String, String)>,
}

impl Frame for GraphPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        self.run.is_some()
    }
}

pub(crate) async fn show(State(app): State<App>, Path(dag_id): Path<DagId>) -> PageResult<GraphPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, graph) = Head::load(&app, &mut conn, dag_id, "/graph").await?;
    let filter = RunFilter::default().only(RunColumn::DagId, &head.dag_id);
    let filter = filter.order_by(RunColumn::RunAfter, Direction::Descending);
    let latest = runs::list(&mut conn, &filter, Part { limit: 1, offset: 0 }).await?.rows.pop();
    let keys: Vec<_> = latest.iter().map(|run| run.run_key).collect();
    let cells = instances::cells(&mut conn, &keys).await?.into_iter();
    let states: HashMap<_, _> = cells.map(|cell| (cell.task_id.clone(), cell.state)).collect();
    let drawing = draw(&graph, |node| {
        let task = graph.task(node).map(|task| &task.task_id);
        let state = task.and_then(|task| states.get(task)).copied();
        let is_mapped = graph.mapped(node).is_some();
        let link = latest.as_ref().zip(task).filter(|_| state.is_some()).map(|(run, task)| match is_mapped {
            true => format!("{}{}", links::run(&run.dag_id, &run.run_id), links::query(&[("q", task.as_str())])),
            false => links::task(&run.dag_id, &run.run_id, task, -1),
        });
        Look { state, link }
    });
    let run = latest.map(|run| (links::run(&run.dag_id, &run.run_id), run.run_id.to_string()));
    Ok(Page(GraphPage { head, drawing, run }))
}
