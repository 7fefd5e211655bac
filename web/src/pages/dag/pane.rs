//! The grid beside a view of a DAG, a run or a task: some runs, among which it is, and a way from any cell to any other.

use std::ops::Range;

use orchestrator::{
    dag::Graph,
    ids::{RunKey, TaskId},
    store::{
        self,
        pages::{
            Page,
            instances::InstanceListed,
            runs::{self, RunColumn, RunFilter, RunListed},
            select::Direction,
        },
    },
};
use sqlx::PgConnection;

use super::{
    cells::{self, Cell},
    rows::{self, Row},
};
use crate::{
    App,
    pages::bars::{Column, columns},
};

/// Columns of a pane.
const RUNS: i64 = 8;

/// Rows of a pane.
const ROWS: usize = 40;

/// What is beside a run or a task.
pub(crate) struct Pane {
    /// The runs, each with whether it is the one that is shown.
    pub(crate) columns: Vec<(Column, bool)>,
    pub(crate) rows: Vec<Line>,
    /// Rows that only the grid itself has.
    pub(crate) left_out: usize,
}

/// A task or a group.
pub(crate) struct Line {
    pub(crate) row: Row,
    pub(crate) cells: Vec<Option<Cell>>,
    /// Whether it is the task that is shown.
    pub(crate) is_here: bool,
}

impl Pane {
    /// What is beside a run of this graph.
    pub(crate) async fn of_run(
        app: &App,
        conn: &mut PgConnection,
        graph: &Graph,
        run: &RunListed,
    ) -> anyhow::Result<Self> {
        let listed = runs::around(conn, &run.dag_id, run.run_key, run.run_after, RUNS).await?;
        Self::of(app, conn, graph, listed, Some(run.run_key), None).await
    }

    /// The latest runs of a DAG of this graph; none: there are no runs.
    pub(super) async fn of_dag(app: &App, conn: &mut PgConnection, graph: &Graph) -> anyhow::Result<Option<Self>> {
        let latest = RunFilter::default().only(RunColumn::DagId, graph.dag_id());
        let latest = latest.order_by(RunColumn::RunAfter, Direction::Descending);
        let listed = runs::rows(conn, &latest, Page { limit: RUNS, offset: 0 }).await?;
        if listed.is_empty() {
            return Ok(None);
        }
        Self::of(app, conn, graph, listed, None, None).await.map(Some)
    }

    /// What is beside a task of this graph in a run.
    pub(crate) async fn of_task(
        app: &App,
        conn: &mut PgConnection,
        graph: &Graph,
        task: &InstanceListed,
    ) -> anyhow::Result<Self> {
        let listed = runs::around(conn, &task.dag_id, task.run_key, task.run_after, RUNS).await?;
        Self::of(app, conn, graph, listed, Some(task.run_key), Some(&task.task_id)).await
    }

    async fn of(
        app: &App,
        conn: &mut PgConnection,
        graph: &Graph,
        mut listed: Vec<RunListed>,
        run: Option<RunKey>,
        task: Option<&TaskId>,
    ) -> anyhow::Result<Self> {
        listed.reverse();
        let mut rows = rows::rows(graph, &[]);
        let here = task.and_then(|task| rows.iter().position(|row| row.folded.is_none() && row.id == *task));
        let shown = window(rows.len(), here);
        let left_out = rows.len() - shown.len();
        let here = here.map(|here| here - shown.start);
        let mut rows: Vec<_> = rows.drain(shown).collect();
        // A group stands for all tasks in it, of which few may be here: it is a heading only.
        rows.iter_mut().filter(|row| row.folded.is_some()).for_each(|row| row.nodes.clear());
        let states = cells::states(app, conn, &listed, graph, &rows).await?;
        let line = |(at, row): (usize, Row)| Line {
            cells: cells::of_row(&row, graph, &listed, &states),
            is_here: here == Some(at),
            row,
        };
        let columns = columns(&listed, store::now(conn).await?).into_iter();
        Ok(Self {
            columns: columns.zip(&listed).map(|(column, of)| (column, Some(of.run_key) == run)).collect(),
            rows: rows.into_iter().enumerate().map(line).collect(),
            left_out,
        })
    }

    /// The cells of a row, each with whether it is in the run that is shown.
    pub(crate) fn across<'p>(&'p self, line: &'p Line) -> impl Iterator<Item = (&'p Option<Cell>, bool)> {
        line.cells.iter().zip(self.columns.iter().map(|(_, is_here)| *is_here))
    }
}

/// As many rows as there may be, that one in their middle.
fn window(rows: usize, here: Option<usize>) -> Range<usize> {
    let length = rows.min(ROWS);
    let start = here.unwrap_or(0).saturating_sub(ROWS / 2).min(rows - length);
    start..start + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_in_the_window_and_the_window_is_within_the_rows() {
        assert_eq!((window(0, None), window(3, Some(2)), window(500, None)), (0..0, 0..3, 0..ROWS));
        assert_eq!((window(500, Some(250)), window(500, Some(499))), (230..270, 460..500));
    }
}
