//! The processes, and what the database says of itself.

use askama::Template;
use axum::extract::State;
use chrono::{DateTime, Utc};
use orchestrator::store::{
    self,
    figures::{self, Count, Database},
    pages::{
        Page as Part,
        processes::{self, ProcessColumn, ProcessFilter, ProcessListed},
        select::Direction,
    },
};

use super::{
    page::{Frame, Page, PageResult},
    ticking::Away,
    words,
};
use crate::App;

/// Processes on the page, the latest first.
const PROCESSES: Part = Part { limit: 100, offset: 0 };

#[derive(Template)]
#[template(path = "health.html")]
pub(crate) struct HealthPage {
    now: DateTime<Utc>,
    processes: Vec<ProcessListed>,
    instances: Vec<Count>,
    commits: i64,
    database: Database,
    version: &'static str,
}

impl Frame for HealthPage {
    const SECTION: &'static str = "health";

    fn is_live(&self) -> bool {
        true
    }
}

impl HealthPage {
    fn ago(&self, at: &DateTime<Utc>) -> Away {
        Away { at: *at, now: self.now }
    }
}

pub(crate) async fn show(State(app): State<App>) -> PageResult<HealthPage> {
    let mut conn = app.pool.acquire().await?;
    let filter = ProcessFilter::default().order_by(ProcessColumn::State, Direction::Ascending);
    let filter = filter.order_by(ProcessColumn::HeartbeatAt, Direction::Descending);
    Ok(Page(HealthPage {
        now: store::now(&mut conn).await?,
        processes: processes::list(&mut conn, &filter, PROCESSES).await?.rows,
        instances: figures::unfinished_instances(&mut conn).await?,
        commits: figures::commits(&mut conn).await?,
        database: figures::database(&mut conn).await?,
        version: env!("CARGO_PKG_VERSION"),
    }))
}
