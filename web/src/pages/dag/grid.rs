//! The grid: a column a run, a row a task.

use askama::Template;
use axum::extract::{Path, Query, State};
use chrono::{DateTime, Utc};
use orchestrator::{
    dag::Graph,
    ids::DagId,
    state::{RunState, RunType},
    store::{
        self,
        pages::{
            Page as Part,
            runs::{self, RunColumn, RunFilter, RunListed},
            select::Direction,
        },
    },
};
use serde::Deserialize;

use super::{
    Head,
    cells::{self, Cell, States},
    rows::{self, Row},
};
use crate::{
    App,
    pages::{
        Frame, Page, PageResult,
        bars::{Column, columns},
        links,
        pager::Pager,
        words::{duration, millis},
    },
};

/// Rows on a page: as many as a browser lays out at once.
const ROWS: i64 = 250;

/// How many columns there may be.
const RUNS: [i64; 4] = [10, 25, 50, 100];

#[derive(Template)]
#[template(path = "dag/grid.html")]
pub(crate) struct GridPage {
    head: Head,
    wanted: Wanted,
    columns: Vec<Column>,
    /// How long the longest of the runs took.
    longest: Option<String>,
    rows: Vec<Shown>,
    pager: Pager,
    is_running: bool,
}

/// What the grid is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    q: String,
    state: String,
    run_type: String,
    runs: String,
    /// The groups that are folded, with commas between them.
    folded: String,
    offset: i64,
}

impl Wanted {
    fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("q", &self.q),
            ("state", &self.state),
            ("run_type", &self.run_type),
            ("runs", &self.runs),
            ("folded", &self.folded),
        ]
    }

    fn count(&self) -> i64 {
        self.runs.parse().ok().filter(|count| RUNS.contains(count)).unwrap_or(25)
    }

    fn folded(&self) -> Vec<&str> {
        self.folded.split(',').filter(|group| !group.is_empty()).collect()
    }

    /// The same grid with that group folded, or unfolded if it is.
    fn toggling(&self, group: &str) -> String {
        let mut folded = self.folded();
        match folded.iter().position(|known| *known == group) {
            Some(at) => drop(folded.remove(at)),
            None => folded.push(group),
        }
        self.folding(&folded.join(","))
    }

    /// The same grid with these groups folded, and no others.
    fn folding(&self, folded: &str) -> String {
        let pairs = self.pairs().map(|(name, value)| (name, if name == "folded" { folded } else { value }));
        let query = links::query(&pairs);
        if query.is_empty() { "?".to_owned() } else { query }
    }

    fn filter(&self, dag: &DagId) -> RunFilter {
        let states = RunState::ALL.into_iter().filter(|state| state.as_str() == self.state);
        let types = TYPES.into_iter().filter(|kind| kind.as_str() == self.run_type).map(RunType::as_str);
        let filter = RunFilter::default().only(RunColumn::DagId, dag);
        let filter = filter.one_of(RunColumn::State, states).one_of(RunColumn::RunType, types);
        filter.order_by(RunColumn::RunAfter, Direction::Descending)
    }
}

const TYPES: [RunType; 4] = [RunType::Scheduled, RunType::Manual, RunType::Backfill, RunType::AssetTriggered];

/// A row with its cells.
struct Shown {
    row: Row,
    toggle: String,
    is_mapped: bool,
    cells: Vec<Option<Cell>>,
}

impl Frame for GridPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        self.is_running || !self.head.is_paused
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    Query(wanted): Query<Wanted>,
) -> PageResult<GridPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, graph) = Head::load(&app, &mut conn, dag_id, "").await?;
    let latest = Part { limit: wanted.count(), offset: 0 };
    let mut listed = runs::list(&mut conn, &wanted.filter(&head.dag_id), latest).await?.rows;
    listed.reverse();
    let mut rows = rows::rows(&graph, &wanted.folded());
    if !wanted.q.is_empty() {
        let text = wanted.q.to_lowercase();
        rows.retain(|row| row.id.as_str().to_lowercase().contains(&text));
    }
    let part = Part { limit: ROWS, offset: wanted.offset.max(0) };
    let pager = Pager::new(part, rows.len() as i64, &wanted.pairs());
    let rows: Vec<_> = rows.into_iter().skip(part.offset as usize).take(ROWS as usize).collect();
    let states = cells::states(&app, &mut conn, &listed, &graph, &rows).await?;
    let now = store::now(&mut conn).await?;
    Ok(Page(GridPage {
        is_running: listed.iter().any(|run| !run.state.is_finished()),
        longest: longest(&listed, now),
        columns: columns(&listed, now),
        rows: rows.into_iter().map(|row| shown(row, &graph, &listed, &states, &wanted)).collect(),
        head,
        wanted,
        pager,
    }))
}

/// How long the longest of those took that have ended.
fn longest(listed: &[RunListed], now: DateTime<Utc>) -> Option<String> {
    let ended = listed.iter().filter(|run| run.end_date.is_some());
    ended.filter_map(|run| millis(run.start_date, run.end_date, now)).max().map(duration)
}

fn shown(row: Row, graph: &Graph, listed: &[RunListed], states: &States, wanted: &Wanted) -> Shown {
    let toggle = if row.folded.is_some() { wanted.toggling(row.id.as_str()) } else { String::new() };
    let is_mapped = row.folded.is_none() && row.nodes.iter().any(|node| graph.mapped(*node).is_some());
    Shown { toggle, is_mapped, cells: cells::of_row(&row, graph, listed, states), row }
}

impl GridPage {
    /// The room that the names of its rows need.
    fn names(&self) -> &'static str {
        let length = |shown: &Shown| shown.row.name().chars().count() + 2 * shown.row.depth;
        match self.rows.iter().map(length).max().unwrap_or_default() {
            ..24 => "",
            24..42 => " long-names",
            42.. => " longest-names",
        }
    }

    /// All groups, for the links that fold and unfold them at once.
    fn fold_all(&self) -> Option<String> {
        let groups: Vec<_> =
            self.rows.iter().filter(|row| row.row.folded.is_some()).map(|row| row.row.id.as_str()).collect();
        let groups = groups.join(",");
        (!groups.is_empty()).then(|| self.wanted.folding(&groups))
    }

    /// How many columns there may be, each with whether it is so now.
    fn counts(&self) -> impl Iterator<Item = (i64, bool)> {
        RUNS.into_iter().map(|count| (count, count == self.wanted.count()))
    }

    fn types(&self) -> impl Iterator<Item = (&'static str, bool)> {
        TYPES.into_iter().map(|kind| (kind.as_str(), kind.as_str() == self.wanted.run_type))
    }

    fn run_states(&self) -> impl Iterator<Item = (&'static str, bool)> {
        RunState::ALL.into_iter().map(|state| (state.as_str(), state.as_str() == self.wanted.state))
    }
}
