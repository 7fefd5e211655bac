//! The processes that are there, and that were.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{self, Column, Selection, Source, Sql},
};
use crate::store::processes::ProcessKind;

/// An incarnation of a process.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ProcessListed {
    /// Its number.
    pub number: i32,
    /// What it does.
    pub kind: ProcessKind,
    /// Where it runs.
    pub hostname: String,
    /// `alive`, `stopped` in order, or `lost`.
    pub state: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it was heard last.
    pub heartbeat_at: DateTime<Utc>,
}

/// What processes are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessColumn {
    /// Its number.
    Number,
    /// What it does.
    Kind,
    /// Where it runs.
    Hostname,
    /// Whether it lives.
    State,
    /// When it started.
    StartedAt,
    /// When it was heard last, if it has ended.
    EndedAt,
    /// When it was heard last.
    HeartbeatAt,
}

impl Column for ProcessColumn {
    fn sql(self) -> Sql {
        match self {
            Self::Number => Sql::of("p.number", "int"),
            Self::Kind => Sql::of("p.kind", "process_kind"),
            Self::Hostname => Sql::of("p.hostname", "text"),
            Self::State => Sql::of("p.state", "process_state"),
            Self::StartedAt => Sql::of("p.started_at", "timestamptz"),
            Self::EndedAt => Sql::maybe("case when p.state <> 'alive' then p.heartbeat_at end", "timestamptz"),
            Self::HeartbeatAt => Sql::of("p.heartbeat_at", "timestamptz"),
        }
    }
}

/// Which processes.
pub type ProcessFilter = Selection<ProcessColumn>;

const PROCESSES: Source = Source {
    columns: "p.number, p.kind, p.hostname, p.state::text as state, p.started_at, p.heartbeat_at",
    from: "process p",
    joins: "",
    key: &[Sql::of("p.number", "bigint")],
};

/// Processes; if nothing else is said, the oldest first.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &ProcessFilter, page: Page) -> sqlx::Result<Listed<ProcessListed>> {
    select::list(conn, PROCESSES, filter, page).await
}
