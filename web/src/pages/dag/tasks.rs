//! The tasks of a DAG, and what is said of them.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use orchestrator::{dag::Graph, ids::DagId};

use super::Head;
use crate::{
    App,
    pages::{Frame, Page, PageResult, words},
};

#[derive(Template)]
#[template(path = "dag/tasks.html")]
pub(crate) struct TasksPage {
    head: Head,
    graph: Arc<Graph>,
}

impl Frame for TasksPage {
    const SECTION: &'static str = "dags";
}

pub(crate) async fn show(State(app): State<App>, Path(dag_id): Path<DagId>) -> PageResult<TasksPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, graph) = Head::load(&app, &mut conn, dag_id, "/tasks").await?;
    Ok(Page(TasksPage { head, graph }))
}

impl TasksPage {
    /// How long a try of a task may take.
    fn timeout(&self, task: &orchestrator::dag::TaskSpec) -> String {
        task.execution_timeout.map_or_else(|| "–".to_owned(), |timeout| words::duration(timeout.as_millis() as i64))
    }

    /// The names of the tasks that come after one.
    fn next(&self, task: &orchestrator::ids::TaskId) -> String {
        let next = self.graph.node(task).map(|node| self.graph.downstream(node)).unwrap_or_default();
        let names = next.iter().filter_map(|node| self.graph.task(*node)).map(|task| task.task_id.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}
