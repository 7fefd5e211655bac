//! Lists of runs: of one DAG, or of all.

use axum::http::StatusCode;
use chrono::{Datelike, NaiveDate, NaiveTime};
use orchestrator::{
    accounts::Sight,
    ids::DagId,
    state::{RunState, RunType},
    store::{
        self,
        pages::{
            Page as Part,
            runs::{self, RunColumn, RunFilter, RunListed},
            select::{Comparison, Direction, Test},
        },
    },
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    links,
    page::PageError,
    pager::{self, Cursors, Pager},
    sorting::{self, Heading},
    ticking::Took,
    words::{Moment, spoken},
};
use crate::{api::cursor, auth};

/// Runs on a page.
const RUNS: i64 = 50;

/// What a list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    q: String,
    state: String,
    run_type: String,
    /// The day (UTC) from which they may run.
    day: String,
    order: String,
    offset: i64,
    /// The page; none: the one that begins after the offset.
    cursor: String,
}

/// A list of runs.
pub(crate) struct RunList {
    pub(crate) rows: Vec<Row>,
    pub(crate) pager: Pager,
    pub(crate) wanted: Wanted,
}

pub(crate) struct Row {
    pub(crate) dag_id: DagId,
    pub(crate) dag_link: String,
    pub(crate) run_id: String,
    pub(crate) link: String,
    pub(crate) state: RunState,
    pub(crate) run_type: &'static str,
    pub(crate) logical_date: Moment,
    pub(crate) start: Moment,
    pub(crate) took: Took,
    pub(crate) note: Option<String>,
    /// Who made it: somebody who had signed in, or what did.
    pub(crate) by: String,
    pub(crate) version: i32,
}

const TYPES: [RunType; 4] = [RunType::Scheduled, RunType::Manual, RunType::Backfill, RunType::AssetTriggered];

/// What they can be ordered by.
const ORDERS: [(&str, RunColumn); 4] = [
    ("run_after", RunColumn::RunAfter),
    ("logical_date", RunColumn::LogicalDate),
    ("start_date", RunColumn::StartDate),
    ("duration", RunColumn::Duration),
];

impl Wanted {
    fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("q", &self.q),
            ("state", &self.state),
            ("run_type", &self.run_type),
            ("day", &self.day),
            ("order", &self.order),
        ]
    }

    /// The list without the place in it, as an address has it.
    pub(crate) fn query(&self) -> String {
        links::query(&self.pairs())
    }

    pub(crate) fn order(&self) -> &str {
        &self.order
    }

    /// The heading of a column by which it is ordered, with its link.
    pub(crate) fn heading(&self, name: &'static str, key: &str) -> (Heading, String) {
        let heading = sorting::heading(name, key, Direction::Descending, &self.order);
        let pairs = self.pairs().map(|(key, now)| (key, if key == "order" { heading.next.as_str() } else { now }));
        let link = links::query(&pairs);
        (heading, link)
    }

    /// Text, state and type as they are chosen, for the form.
    pub(crate) fn text(&self) -> &str {
        &self.q
    }

    pub(crate) fn day(&self) -> &str {
        &self.day
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = (&'static str, bool)> {
        RunState::ALL.into_iter().map(|state| (state.as_str(), state.as_str() == self.state))
    }

    pub(crate) fn types(&self) -> impl Iterator<Item = (&'static str, bool)> {
        TYPES.into_iter().map(|kind| (kind.as_str(), kind.as_str() == self.run_type))
    }

    fn filter(&self, dag: Option<&DagId>) -> RunFilter {
        let states = RunState::ALL.into_iter().filter(|state| state.as_str() == self.state);
        let types = TYPES.into_iter().filter(|kind| kind.as_str() == self.run_type).map(RunType::as_str);
        let filter = RunFilter::default().one_of(RunColumn::DagId, dag);
        let filter = filter.one_of(RunColumn::State, states).one_of(RunColumn::RunType, types);
        let column = if dag.is_some() { RunColumn::RunId } else { RunColumn::DagId };
        let filter = if self.q.is_empty() { filter } else { filter.with(column, Test::Contains(self.q.clone())) };
        // Postgres knows no instants of years that are far enough away.
        let day = self.day.parse::<NaiveDate>().ok().filter(|day| (1..=9999).contains(&day.year()));
        let filter = match day {
            Some(day) => on(filter, day),
            None => filter,
        };
        let usual = if dag.is_some() { RunColumn::RunAfter } else { RunColumn::Key };
        let (column, direction) = sorting::read(&self.order, &ORDERS).unwrap_or((usual, Direction::Descending));
        filter.order_by(column, direction).counted_to(pager::COUNTED)
    }

    /// The page that is wanted, and how to go on from it.
    async fn read(&self, conn: &mut PgConnection, filter: &RunFilter) -> Result<(Vec<RunListed>, Pager), PageError> {
        let part = Part { limit: RUNS, offset: self.offset.max(0) };
        if self.cursor.is_empty() && part.offset > 0 {
            let listed = runs::list(conn, filter, part).await?;
            return Ok((listed.rows, Pager::new(part, listed.total, &self.pairs())));
        }
        let turn = cursor::turn_of(&self.cursor).ok_or_else(|| {
            let text = "The address leads to no page of this list: begin with its first one.";
            PageError::new(StatusCode::BAD_REQUEST, text)
        })?;
        let turned = runs::turn(conn, filter, turn, RUNS).await?;
        let previous = turned.previous.as_ref().map(cursor::before);
        let next = turned.next.as_ref().map(cursor::after);
        let pager = Pager::new(part, turned.total, &self.pairs()).with_cursors(Cursors { previous, next });
        Ok((turned.rows, pager))
    }
}

/// Only runs of that day.
fn on(filter: RunFilter, day: NaiveDate) -> RunFilter {
    let begin = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let filter = filter.with(RunColumn::RunAfter, Test::Instant(Comparison::AtLeast, begin(day)));
    match day.succ_opt() {
        Some(next) => filter.with(RunColumn::RunAfter, Test::Instant(Comparison::Below, begin(next))),
        None => filter,
    }
}

impl RunList {
    /// The runs of a DAG, or of all that somebody sees.
    pub(crate) async fn load(
        conn: &mut PgConnection,
        wanted: Wanted,
        sight: &Sight,
        dag: Option<&DagId>,
    ) -> Result<Self, PageError> {
        let filter = wanted.filter(dag).seen_by(sight, RunColumn::DagId);
        let (rows, pager) = wanted.read(conn, &filter).await?;
        let now = store::now(conn).await?;
        let rows = rows.into_iter().map(|run| Row {
            dag_link: links::dag(&run.dag_id),
            link: links::run(&run.dag_id, &run.run_id),
            run_id: run.run_id.to_string(),
            state: run.state,
            run_type: run.run_type.as_str(),
            logical_date: Moment(run.logical_date),
            start: Moment(run.start_date),
            took: Took { from: run.start_date, to: run.end_date, now },
            note: run.note,
            by: run.triggering_user.unwrap_or_else(|| spoken(&run.triggered_by)),
            version: run.version_number,
            dag_id: run.dag_id,
        });
        Ok(Self { rows: rows.collect(), pager, wanted })
    }

    /// Whether whoever looks may work on one of them.
    pub(crate) fn is_worked_on(&self) -> bool {
        self.rows.iter().any(|row| auth::works_on(&row.dag_id))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.rows.iter().any(|row| !row.state.is_finished())
    }
}
