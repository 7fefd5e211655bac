//! The task instances of all DAGs: Airflow's "Task Instances".

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    http::StatusCode,
};
use orchestrator::{
    accounts::Sight,
    state::TaskState,
    store::{
        self,
        pages::{
            Page as Part,
            instances::{self, InstanceColumn, InstanceFilter, InstanceListed},
            select::{Direction, Test},
        },
    },
};
use serde::Deserialize;

use super::{
    act::{Deed, Done},
    links,
    page::{Frame, Page, PageError, PageResult},
    pager::{self, Cursors, Pager},
    ticking::Took,
    words::{self, Moment},
};
use crate::{App, api::cursor};

/// Task instances on a page.
const ROWS: i64 = 50;

#[derive(Template)]
#[template(path = "tasks.html")]
pub(crate) struct TasksPage {
    rows: Vec<Row>,
    pager: Pager,
    wanted: Wanted,
    /// What was done.
    told: Option<String>,
}

impl Frame for TasksPage {
    const SECTION: &'static str = "tasks";

    fn is_live(&self) -> bool {
        true
    }
}

impl TasksPage {
    /// Whether whoever looks may work on one of them.
    fn is_worked_on(&self) -> bool {
        self.rows.iter().any(|row| self.works_on(&row.of.dag_id))
    }
}

struct Row {
    of: InstanceListed,
    dag_link: String,
    run_link: String,
    link: String,
    start: Moment,
    took: Took,
}

/// What the list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    q: String,
    dag: String,
    state: String,
    pool: String,
    queue: String,
    cursor: String,
}

impl Wanted {
    fn pairs(&self) -> [(&'static str, &str); 5] {
        [("q", &self.q), ("dag", &self.dag), ("state", &self.state), ("pool", &self.pool), ("queue", &self.queue)]
    }

    /// The list without the place in it, as an address of ours.
    fn here(&self) -> String {
        format!("/tasks{}", links::query(&self.pairs()))
    }

    fn states(&self) -> impl Iterator<Item = (String, TaskState, bool)> {
        TaskState::MOST_TELLING.into_iter().map(|state| (words::spoken(state), state, state.as_str() == self.state))
    }

    fn filter(&self) -> InstanceFilter {
        let states = TaskState::MOST_TELLING.into_iter().filter(|state| state.as_str() == self.state);
        let mut filter = InstanceFilter::default().one_of(InstanceColumn::State, states);
        for (column, text) in [(InstanceColumn::TaskId, &self.q), (InstanceColumn::DagId, &self.dag)] {
            if !text.is_empty() {
                filter = filter.with(column, Test::Contains(text.clone()));
            }
        }
        for (column, text) in [(InstanceColumn::Pool, &self.pool), (InstanceColumn::Queue, &self.queue)] {
            if !text.is_empty() {
                filter = filter.only(column, text);
            }
        }
        filter.order_by(InstanceColumn::Key, Direction::Descending).counted_to(pager::COUNTED)
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Extension(sight): Extension<Sight>,
    Query(wanted): Query<Wanted>,
    Query(done): Query<Done>,
) -> PageResult<TasksPage> {
    let turn = cursor::turn_of(&wanted.cursor).ok_or_else(|| {
        let text = "The address leads to no page of this list: begin with its first one.";
        PageError::new(StatusCode::BAD_REQUEST, text)
    })?;
    let mut conn = app.pool.acquire().await?;
    let filter = wanted.filter().seen_by(&sight, InstanceColumn::DagId);
    let turned = instances::turn(&mut conn, &filter, turn, ROWS).await?;
    let now = store::now(&mut conn).await?;
    let cursors = Cursors {
        previous: turned.previous.as_ref().map(cursor::before),
        next: turned.next.as_ref().map(cursor::after),
    };
    let part = Part { limit: ROWS, offset: 0 };
    let pager = Pager::new(part, turned.total, &wanted.pairs()).with_cursors(cursors);
    let rows = turned.rows.into_iter().map(|of| Row {
        dag_link: links::dag(&of.dag_id),
        run_link: links::run(&of.dag_id, &of.run_id),
        link: links::task(&of.dag_id, &of.run_id, &of.task_id, of.map_index),
        start: Moment(of.start_date),
        took: Took { from: of.start_date, to: of.end_date.filter(|_| of.state != TaskState::Running), now },
        of,
    });
    Ok(Page(TasksPage { rows: rows.collect(), pager, wanted, told: done.told() }))
}
