//! The list of DAGs, and one DAG.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{self, Column, Selection, Source, Sql, Test},
};
use crate::{
    ids::{DagId, RunId, VersionId},
    state::RunState,
};

macro_rules! last_run {
    ($column:literal) => {
        concat!(
            "(select l.",
            $column,
            " from dag_run l where l.dag_id = d.dag_id order by l.run_after desc, l.run_key desc limit 1)"
        )
    };
}

/// A DAG in a list. What its graph says is not here: ask the graph of the version.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DagListed {
    /// Its id.
    pub dag_id: DagId,
    /// Whether it waits.
    pub is_paused: bool,
    /// The version that new runs get.
    pub version: VersionId,
    /// The number of that version.
    pub version_number: i32,
    /// Where that version is written.
    pub file: Option<String>,
    /// When its next run is due.
    pub next_run_at: Option<DateTime<Utc>>,
    /// When a process last said that it has this DAG.
    pub last_registered_at: DateTime<Utc>,
}

/// What DAGs are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DagColumn {
    /// Their id.
    DagId,
    /// Whether they wait.
    IsPaused,
    /// The list of their tags.
    Tags,
    /// Their owner.
    Owner,
    /// The kind of their schedule, as it is stored.
    ScheduleKind,
    /// When their next run is due.
    NextRun,
    /// Whether they wait for assets.
    WaitsForAssets,
    /// The names of those assets, a line each.
    Assets,
    /// The state of their latest run.
    LastRunState,
    /// When their latest run started.
    LastRunStart,
    /// When their latest run ended.
    LastRunEnd,
}

impl Column for DagColumn {
    fn sql(self) -> Sql {
        match self {
            Self::DagId => Sql::of("d.dag_id", "text"),
            Self::IsPaused => Sql::of("d.is_paused", "boolean"),
            Self::Tags => Sql::of("(v.graph -> 'tags')", "jsonb").joined(),
            Self::Owner => Sql::of("(v.graph ->> 'owner')", "text").joined(),
            Self::ScheduleKind => Sql::of("(v.graph #>> '{schedule,kind}')", "text").joined(),
            Self::NextRun => Sql::maybe("d.next_run_at", "timestamptz"),
            Self::WaitsForAssets => Sql::of("exists (select from dag_asset w where w.dag_id = d.dag_id)", "boolean"),
            Self::Assets => {
                Sql::maybe("(select string_agg(w.asset, E'\\n') from dag_asset w where w.dag_id = d.dag_id)", "text")
            }
            Self::LastRunState => Sql::maybe(last_run!("state"), "run_state"),
            Self::LastRunStart => Sql::maybe(last_run!("start_date"), "timestamptz"),
            Self::LastRunEnd => Sql::maybe(last_run!("end_date"), "timestamptz"),
        }
    }
}

/// Which DAGs.
pub type DagFilter = Selection<DagColumn>;

impl DagFilter {
    /// Those that are among somebody's favorites, or those that are not.
    #[must_use]
    pub fn favorite(self, wanted: bool, favorites: &BTreeSet<DagId>) -> Self {
        let ids = favorites.iter().map(|dag| dag.as_str().to_owned()).collect();
        self.with(DagColumn::DagId, if wanted { Test::OneOf(ids) } else { Test::NoneOf(ids) })
    }
}

const DAGS: Source = Source {
    columns: "d.dag_id, d.is_paused, d.current_version_id as version, v.number as version_number, d.next_run_at,
              d.last_registered_at, v.file",
    from: "dag d",
    joins: "join dag_version v on v.version_id = d.current_version_id",
    key: &[Sql::of("d.dag_id", "text")],
};

/// DAGs; if nothing else is said, by id.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &DagFilter, page: Page) -> sqlx::Result<Listed<DagListed>> {
    select::list(conn, DAGS, filter, page).await
}

/// One DAG.
///
/// # Errors
/// The database is down.
pub async fn get(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Option<DagListed>> {
    let filter = DagFilter::default().only(DagColumn::DagId, dag);
    Ok(select::rows(conn, DAGS, &filter, Page { limit: 1, offset: 0 }).await?.pop())
}

/// One of the latest runs of a DAG.
#[derive(Clone, Debug)]
pub struct RecentRun {
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// Where it is.
    pub state: RunState,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
}

/// How many runs of a DAG are in a state.
#[derive(Clone, Debug)]
pub struct StateCount {
    /// The DAG.
    pub dag_id: DagId,
    /// The state.
    pub state: RunState,
    /// How many.
    pub runs: i64,
}

/// How many runs of each of these DAGs, or of all, are in each state.
///
/// # Errors
/// The database is down.
pub async fn count_states(conn: &mut PgConnection, dags: &[String]) -> sqlx::Result<Vec<StateCount>> {
    sqlx::query_as!(
        StateCount,
        r#"select dag_id as "dag_id: DagId", state as "state: RunState", count(*) as "runs!" from dag_run
           where cardinality($1::text[]) = 0 or dag_id = any($1) group by dag_id, state"#,
        dags
    )
    .fetch_all(conn)
    .await
}

/// The latest runs of each of these DAGs, the latest first.
///
/// # Errors
/// The database is down.
pub async fn recent_runs(conn: &mut PgConnection, dags: &[String], each: i64) -> sqlx::Result<Vec<RecentRun>> {
    sqlx::query_as!(
        RecentRun,
        r#"select r.dag_id as "dag_id: DagId", r.run_id as "run_id: RunId", r.state as "state: RunState",
                  r.start_date, r.end_date
           from unnest($1::text[]) as d(dag_id)
           cross join lateral (
               select * from dag_run where dag_run.dag_id = d.dag_id order by run_after desc, run_key desc limit $2
           ) r"#,
        dags,
        each
    )
    .fetch_all(conn)
    .await
}
