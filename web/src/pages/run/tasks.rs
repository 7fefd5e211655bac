//! The task instances of a run, as a list.

use chrono::{DateTime, Utc};
use orchestrator::{
    dag::Graph,
    ids::TaskId,
    state::TaskState,
    store::pages::{
        Page as Part,
        instances::{self, InstanceColumn, InstanceFilter, InstanceListed},
        select::{Direction, Test},
    },
};
use sqlx::PgConnection;

use super::Wanted;
use crate::pages::{
    links,
    pager::Pager,
    sorting::{self, Heading},
    ticking::Took,
    words::{self, Moment},
};

/// Task instances on a page.
const TASKS: i64 = 200;

/// What they can be ordered by; else they are as in the graph.
const ORDERS: [(&str, InstanceColumn); 5] = [
    ("task", InstanceColumn::TaskId),
    ("state", InstanceColumn::State),
    ("try", InstanceColumn::TryNumber),
    ("start_date", InstanceColumn::StartDate),
    ("duration", InstanceColumn::Duration),
];

pub(super) struct TaskList {
    pub(super) rows: Vec<Row>,
    pub(super) pager: Pager,
}

pub(super) struct Row {
    /// The database's key.
    pub(super) key: i64,
    pub(super) task_id: TaskId,
    pub(super) map_index: i32,
    pub(super) link: String,
    pub(super) state: TaskState,
    pub(super) try_number: i32,
    pub(super) start: Moment,
    pub(super) took: Took,
    pub(super) operator: String,
    pub(super) note: Option<String>,
}

impl Wanted {
    fn pairs(&self) -> [(&'static str, &str); 3] {
        [("q", &self.q), ("state", &self.state), ("order", &self.order)]
    }

    /// The list without the place in it, as an address has it.
    pub(super) fn query(&self) -> String {
        links::query(&self.pairs())
    }

    /// The heading of a column by which it is ordered, with its link.
    pub(super) fn heading(&self, name: &'static str, key: &str, first: Direction) -> (Heading, String) {
        let heading = sorting::heading(name, key, first, &self.order);
        let pairs = self.pairs().map(|(key, now)| (key, if key == "order" { heading.next.as_str() } else { now }));
        let link = links::query(&pairs);
        (heading, link)
    }

    pub(super) fn states(&self) -> impl Iterator<Item = (String, TaskState, bool)> {
        TaskState::MOST_TELLING.into_iter().map(|state| (words::spoken(state), state, state.as_str() == self.state))
    }

    fn filter(&self, mut filter: InstanceFilter) -> InstanceFilter {
        if !self.q.is_empty() {
            filter = filter.with(InstanceColumn::TaskId, Test::Contains(self.q.clone()));
        }
        let states = TaskState::MOST_TELLING.into_iter().filter(|state| state.as_str() == self.state);
        let filter = filter.one_of(InstanceColumn::State, states);
        match sorting::read(&self.order, &ORDERS) {
            Some((column, direction)) => filter.order_by(column, direction),
            None => filter,
        }
    }
}

impl TaskList {
    pub(super) async fn load(
        conn: &mut PgConnection,
        of_run: InstanceFilter,
        graph: &Graph,
        wanted: &Wanted,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Self> {
        let part = Part { limit: TASKS, offset: wanted.offset.max(0) };
        let listed = instances::list(conn, &wanted.filter(of_run), part).await?;
        let pager = Pager::new(part, listed.total, &wanted.pairs());
        let row = |task: InstanceListed| Row {
            key: task.instance.0,
            link: links::task(&task.dag_id, &task.run_id, &task.task_id, task.map_index),
            state: task.state,
            try_number: task.try_number,
            start: Moment(task.start_date),
            took: Took { from: task.start_date, to: task.end_date, now },
            operator: graph.task(task.node).map_or_else(String::new, |task| task.operator.clone()),
            note: task.note,
            task_id: task.task_id,
            map_index: task.map_index,
        };
        Ok(Self { rows: listed.rows.into_iter().map(row).collect(), pager })
    }
}
