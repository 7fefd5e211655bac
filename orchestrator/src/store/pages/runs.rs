//! Lists of runs, and one run.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{
        self, Column, Direction, Selection, Source, Sql,
        cursor::{self, NotTurned, Place, Turn, Turned},
    },
};
use crate::{
    ids::{DagId, RunId, RunKey, VersionId},
    state::{RunState, RunType},
};

/// A run, with everything that is told about it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RunListed {
    /// The database's key.
    pub run_key: RunKey,
    /// Its DAG.
    pub dag_id: DagId,
    /// Its id.
    pub run_id: RunId,
    /// The version that it runs under.
    pub version: VersionId,
    /// The number of that version.
    pub version_number: i32,
    /// When that version was stored.
    pub version_created_at: DateTime<Utc>,
    /// Why it exists.
    pub run_type: RunType,
    /// Where it is.
    pub state: RunState,
    /// The date that it stands for.
    pub logical_date: Option<DateTime<Utc>>,
    /// The beginning of its data interval.
    pub data_interval_start: Option<DateTime<Utc>>,
    /// The end of its data interval.
    pub data_interval_end: Option<DateTime<Utc>>,
    /// Not before this instant.
    pub run_after: DateTime<Utc>,
    /// What it was triggered with.
    pub conf: Value,
    /// A remark.
    pub note: Option<String>,
    /// Who made it.
    pub triggered_by: String,
    /// The user who did, if somebody had signed in.
    pub triggering_user: Option<String>,
    /// When it was queued.
    pub queued_at: DateTime<Utc>,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
}

/// What runs are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunColumn {
    /// In the order of their making.
    Key,
    /// Their DAG.
    DagId,
    /// Their id.
    RunId,
    /// Where they are.
    State,
    /// Why they exist.
    RunType,
    /// The date that they stand for.
    LogicalDate,
    /// Not before this instant.
    RunAfter,
    /// When they started.
    StartDate,
    /// When they ended.
    EndDate,
    /// How long they took, in seconds.
    Duration,
    /// What they were triggered with.
    Conf,
    /// The user who triggered them.
    TriggeringUser,
    /// The names of the assets whose updates made them, a line each.
    Assets,
    /// The number of the version that they run under.
    Version,
}

impl Column for RunColumn {
    fn sql(self) -> Sql {
        match self {
            Self::Key => Sql::of("r.run_key", "bigint"),
            Self::DagId => Sql::of("r.dag_id", "text"),
            Self::RunId => Sql::of("r.run_id", "text"),
            Self::State => Sql::of("r.state", "run_state"),
            Self::RunType => Sql::of("r.run_type", "run_type"),
            Self::LogicalDate => Sql::maybe("r.logical_date", "timestamptz"),
            Self::RunAfter => Sql::of("r.run_after", "timestamptz"),
            Self::StartDate => Sql::maybe("r.start_date", "timestamptz"),
            Self::EndDate => Sql::maybe("r.end_date", "timestamptz"),
            Self::Duration => Sql::maybe("extract(epoch from r.end_date - r.start_date)", "numeric"),
            Self::Conf => Sql::of("r.conf::text", "text"),
            Self::TriggeringUser => Sql::maybe("r.triggering_user", "text"),
            Self::Assets => Sql::maybe(ASSETS, "text"),
            Self::Version => Sql::of("v.number", "int").joined(),
        }
    }
}

const ASSETS: &str = "(select string_agg(e.asset, E'\\n') from run_asset_event c join asset_event e using (event_id)
                       where c.run_key = r.run_key)";

/// Which runs.
pub type RunFilter = Selection<RunColumn>;

const RUNS: Source = Source {
    columns: "r.run_key, r.dag_id, r.run_id, r.version_id as version, v.number as version_number,
              v.created_at as version_created_at, r.run_type, r.state, r.logical_date, r.data_interval_start,
              r.data_interval_end, r.run_after, r.conf, r.note, r.triggered_by, r.triggering_user, r.queued_at, r.start_date, r.end_date",
    from: "dag_run r",
    joins: "join dag_version v on v.version_id = r.version_id",
    key: &[Sql::of("r.run_key", "bigint")],
};

/// Runs; if nothing else is said, in the order of their making.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &RunFilter, page: Page) -> sqlx::Result<Listed<RunListed>> {
    select::list(conn, RUNS, filter, page).await
}

/// The runs of a page, which nobody counts.
///
/// # Errors
/// The database is down.
pub async fn rows(conn: &mut PgConnection, filter: &RunFilter, page: Page) -> sqlx::Result<Vec<RunListed>> {
    select::rows(conn, RUNS, filter, page).await
}

/// A page of them, which goes on from another one; at most `limit`.
///
/// # Errors
/// See [`NotTurned`].
pub async fn turn(
    conn: &mut PgConnection,
    filter: &RunFilter,
    turn: Turn,
    limit: i64,
) -> Result<Turned<RunListed>, NotTurned> {
    cursor::turn(conn, RUNS, filter, turn, limit).await
}

/// The latest run of a DAG, by the instant from which it may run.
///
/// # Errors
/// The database is down.
pub async fn latest(conn: &mut PgConnection, dag: &DagId) -> sqlx::Result<Option<RunListed>> {
    let filter = RunFilter::default().only(RunColumn::DagId, dag).order_by(RunColumn::RunAfter, Direction::Descending);
    Ok(select::rows(conn, RUNS, &filter, Page { limit: 1, offset: 0 }).await?.pop())
}

/// The latest runs of a DAG if that one, which may run from this instant, is among them, else some of those before and after
/// it; at most `limit`, the latest first.
///
/// # Errors
/// The database is down.
pub async fn around(
    conn: &mut PgConnection,
    dag: &DagId,
    run: RunKey,
    run_after: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<RunListed>> {
    let of_dag = |way| RunFilter::default().only(RunColumn::DagId, dag).order_by(RunColumn::RunAfter, way);
    let latest = of_dag(Direction::Descending);
    let listed: Vec<RunListed> = select::rows(conn, RUNS, &latest, Page { limit, offset: 0 }).await?;
    if listed.iter().any(|one| one.run_key == run) {
        return Ok(listed);
    }
    let place =
        |run_after: DateTime<Utc>, run: RunKey| Place(vec![Some(run_after.to_rfc3339()), Some(run.0.to_string())]);
    let (later, page) = (of_dag(Direction::Ascending), Page { limit: limit / 2, offset: 0 });
    let mut around: Vec<RunListed> = select::rows_after(conn, RUNS, &later, place(run_after, run), page).await?;
    around.reverse();
    // It is the first one before the one after it.
    let Some(next) = around.last() else { return Ok(listed) };
    let (next, page) = (place(next.run_after, next.run_key), Page { limit: limit - around.len() as i64, offset: 0 });
    around.extend(select::rows_after::<_, RunListed>(conn, RUNS, &latest, next, page).await?);
    Ok(around)
}

/// The runs of a DAG before and after one, by the instant from which they may run.
#[derive(Clone, Debug)]
pub struct Beside {
    /// The one before it.
    pub earlier: Option<RunId>,
    /// The one after it.
    pub later: Option<RunId>,
}

/// What is beside a run.
///
/// # Errors
/// The database is down.
pub async fn beside(conn: &mut PgConnection, dag: &DagId, run: RunKey) -> sqlx::Result<Beside> {
    sqlx::query_as!(
        Beside,
        r#"select (select e.run_id from dag_run e
                   where e.dag_id = r.dag_id and (e.run_after, e.run_key) < (r.run_after, r.run_key)
                   order by e.run_after desc, e.run_key desc limit 1) as "earlier: RunId",
                  (select l.run_id from dag_run l
                   where l.dag_id = r.dag_id and (l.run_after, l.run_key) > (r.run_after, r.run_key)
                   order by l.run_after, l.run_key limit 1) as "later: RunId"
           from dag_run r where r.run_key = $1 and r.dag_id = $2"#,
        run.0,
        dag.as_str()
    )
    .fetch_one(conn)
    .await
}

/// One run.
///
/// # Errors
/// The database is down.
pub async fn get(conn: &mut PgConnection, dag: &DagId, run: &RunId) -> sqlx::Result<Option<RunListed>> {
    let filter = RunFilter::default().only(RunColumn::DagId, dag).only(RunColumn::RunId, run);
    Ok(select::rows(conn, RUNS, &filter, Page { limit: 1, offset: 0 }).await?.pop())
}
