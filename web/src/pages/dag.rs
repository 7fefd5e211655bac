//! One DAG: its grid of runs and tasks, and its graph.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Path, State};
use orchestrator::{
    commands::Refused,
    ids::{DagId, RunId, RunKey, TaskId},
    state::{RunState, TaskState},
    store::pages::{
        Page as Part, dags, instances,
        runs::{self, RunColumn, RunFilter, RunListed},
        select::Direction,
    },
};

use super::{
    drawing::{Drawing, draw},
    page::{Page, PageResult, instant},
};
use crate::App;

/// Columns of the grid.
const RUNS: Part = Part { limit: 25, offset: 0 };

#[derive(Template)]
#[template(path = "dag.html")]
pub(crate) struct DagPage {
    dag_id: DagId,
    description: Option<String>,
    is_paused: bool,
    schedule: String,
    next_run: String,
    version: i32,
    owner: String,
    runs: Vec<Column>,
    rows: Vec<Row>,
    drawing: Drawing,
}

struct Column {
    run_id: RunId,
    state: RunState,
}

struct Row {
    task_id: TaskId,
    cells: Vec<Option<Cell>>,
}

struct Cell {
    run_id: RunId,
    state: TaskState,
    /// Of a mapped task: how many instances it has.
    instances: Option<i64>,
}

impl DagPage {
    fn is_live(&self) -> bool {
        !self.is_paused || self.runs.iter().any(|run| !run.state.is_finished())
    }
}

pub(crate) async fn show(State(app): State<App>, Path(dag_id): Path<DagId>) -> PageResult<DagPage> {
    let mut conn = app.pool.acquire().await?;
    let dag = dags::get(&mut conn, &dag_id).await?.ok_or(Refused::NoDag(dag_id))?;
    let graph = app.graphs.get(&mut conn, dag.version).await?;
    let filter = RunFilter::default().only(RunColumn::DagId, &dag.dag_id);
    let filter = filter.order_by(RunColumn::RunAfter, Direction::Descending);
    let mut listed = runs::list(&mut conn, &filter, RUNS).await?.rows;
    listed.reverse();
    let keys: Vec<_> = listed.iter().map(|run| run.run_key).collect();
    let mut states: HashMap<(RunKey, TaskId), (TaskState, i64)> = HashMap::new();
    for cell in instances::cells(&mut conn, &keys).await? {
        states.insert((cell.run_key, cell.task_id), (cell.state, cell.instances));
    }
    let cell = |run: &RunListed, task: &TaskId| {
        let (state, instances) = *states.get(&(run.run_key, task.clone()))?;
        let is_mapped = graph.node(task).is_some_and(|node| graph.mapped(node).is_some());
        Some(Cell { run_id: run.run_id.clone(), state, instances: is_mapped.then_some(instances) })
    };
    let rows = graph.tasks().iter().map(|task| Row {
        task_id: task.task_id.clone(),
        cells: listed.iter().map(|run| cell(run, &task.task_id)).collect(),
    });
    Ok(Page(DagPage {
        description: graph.description().map(ToOwned::to_owned),
        is_paused: dag.is_paused,
        schedule: graph.schedule().summary(),
        next_run: instant(dag.next_run_at.filter(|_| !dag.is_paused)),
        version: dag.version_number,
        owner: graph.owner().to_owned(),
        rows: rows.collect(),
        drawing: draw(&graph),
        runs: listed.into_iter().map(|run| Column { run_id: run.run_id, state: run.state }).collect(),
        dag_id: dag.dag_id,
    }))
}
