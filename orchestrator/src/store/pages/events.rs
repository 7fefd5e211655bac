//! The event log: who did what.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{self, Column, Selection, Source, Sql},
};
use crate::ids::{DagId, RunId, TaskId};

/// Something that somebody did.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct EventListed {
    /// Its number.
    pub event_id: i64,
    /// When.
    pub happened_at: DateTime<Utc>,
    /// What, in Airflow's words.
    pub event: String,
    /// To which DAG, if to one.
    pub dag_id: Option<DagId>,
    /// To which run.
    pub run_id: Option<RunId>,
    /// To which task.
    pub task_id: Option<TaskId>,
    /// Who.
    pub owner: String,
    /// The details.
    pub extra: Value,
}

/// What events are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventColumn {
    /// Its number.
    EventId,
    /// When.
    When,
    /// What.
    Event,
    /// To which DAG.
    DagId,
    /// To which run.
    RunId,
    /// To which task.
    TaskId,
    /// Who.
    Owner,
    /// The details.
    Extra,
}

impl Column for EventColumn {
    fn sql(self) -> Sql {
        match self {
            Self::EventId => Sql::of("e.event_id", "bigint"),
            Self::When => Sql::of("e.happened_at", "timestamptz"),
            Self::Event => Sql::of("e.event", "text"),
            Self::DagId => Sql::maybe("e.dag_id", "text"),
            Self::RunId => Sql::maybe("e.run_id", "text"),
            Self::TaskId => Sql::maybe("e.task_id", "text"),
            Self::Owner => Sql::of("e.owner", "text"),
            Self::Extra => Sql::of("e.extra::text", "text"),
        }
    }
}

/// Which events.
pub type EventFilter = Selection<EventColumn>;

const EVENTS: Source = Source {
    columns: "e.event_id, e.happened_at, e.event, e.dag_id, e.run_id, e.task_id, e.owner, e.extra",
    from: "event e",
    joins: "",
    key: &[Sql::of("e.event_id", "bigint"), Sql::of("e.happened_on", "date")],
};

/// Events; if nothing else is said, the oldest first.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &EventFilter, page: Page) -> sqlx::Result<Listed<EventListed>> {
    select::list(conn, EVENTS, filter, page).await
}
