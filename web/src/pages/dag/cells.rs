//! The cells of a grid: how the tasks of a row stand in each run.

use std::collections::HashMap;

use orchestrator::{
    dag::Graph,
    ids::{Node, RunKey},
    state::TaskState,
    store::pages::{instances, runs::RunListed},
};

use super::rows::Row;
use crate::{App, pages::links};

/// How the tasks of a row stand in a run.
pub(in crate::pages) struct Cell {
    pub(in crate::pages) link: String,
    pub(in crate::pages) state: TaskState,
    /// What it says when asked.
    pub(in crate::pages) label: String,
}

/// How a task stands in a run, and of how many instances.
pub(super) type States = HashMap<(RunKey, Node), (TaskState, i64)>;

/// The states of what is shown, and of nothing else. A run of another version has other nodes: a task is known by its name.
pub(super) async fn states(
    app: &App,
    conn: &mut sqlx::PgConnection,
    listed: &[RunListed],
    graph: &Graph,
    rows: &[Row],
) -> anyhow::Result<States> {
    let shown = rows.iter().flat_map(|row| &row.nodes);
    let shown: HashMap<_, _> = shown.filter_map(|node| Some((&graph.task(*node)?.task_id, *node))).collect();
    let mut by_version: HashMap<_, Vec<_>> = HashMap::new();
    for run in listed {
        by_version.entry(run.version).or_default().push(run.run_key);
    }
    let mut states = States::new();
    for (version, runs) in by_version {
        // Beside what was asked for may be a run of a newer program: its column stays empty.
        if !app.graphs.can_read(conn, version).await? {
            continue;
        }
        let theirs = app.graphs.get(conn, version).await?;
        let nodes: Vec<_> = shown.keys().filter_map(|task| theirs.node(task)).collect();
        let cells = instances::cells(conn, &runs, &nodes).await?.into_iter();
        let known =
            |cell: instances::Cell| Some(((cell.run_key, *shown.get(&cell.task_id)?), (cell.state, cell.instances)));
        states.extend(cells.filter_map(known));
    }
    Ok(states)
}

/// A cell for each run, if it has the tasks of the row.
pub(super) fn of_row(row: &Row, graph: &Graph, listed: &[RunListed], states: &States) -> Vec<Option<Cell>> {
    let rank = |state: TaskState| TaskState::MOST_TELLING.iter().position(|known| *known == state);
    let cell = |run: &RunListed| {
        let found: Vec<_> = row.nodes.iter().filter_map(|node| states.get(&(run.run_key, *node))).collect();
        let state = found.iter().map(|(state, _)| *state).min_by_key(|state| rank(*state))?;
        let task = row.nodes.first().filter(|_| row.folded.is_none());
        let is_mapped = task.is_some_and(|node| graph.mapped(*node).is_some());
        if task.is_some() && !is_mapped {
            let link = links::task(&run.dag_id, &run.run_id, &row.id, -1);
            return Some(Cell { link, state, label: format!("{}: {state}", row.id) });
        }
        let link = format!("{}{}", links::run(&run.dag_id, &run.run_id), links::query(&[("q", row.id.as_str())]));
        let count: i64 = found.iter().map(|(_, count)| count).sum();
        Some(Cell { link, state, label: format!("{} ({count}): {state}", row.id) })
    };
    listed.iter().map(cell).collect()
}
