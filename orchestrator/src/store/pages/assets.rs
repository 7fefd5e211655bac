//! Assets, who makes them, who waits for them, and their updates.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{
    Listed, Page,
    select::{self, Column, Selection, Source, Sql},
};
use crate::{
    ids::{DagId, RunId, RunKey, TaskId},
    state::RunState,
};

/// An asset.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct AssetListed {
    /// Its number.
    pub asset_id: i32,
    /// Its name, which is also its address.
    pub name: String,
    /// When it became known.
    pub created_at: DateTime<Utc>,
    /// The number of its latest update.
    pub last_event: Option<i64>,
    /// When that was.
    pub last_event_at: Option<DateTime<Utc>>,
}

/// What assets are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssetColumn {
    /// Its number.
    AssetId,
    /// Its name.
    Name,
    /// When it became known.
    CreatedAt,
    /// The DAGs that wait for it or make it.
    Dags,
}

impl Column for AssetColumn {
    fn sql(self) -> Sql {
        match self {
            Self::AssetId => Sql::of("a.asset_id", "int"),
            Self::Name => Sql::of("a.name", "text"),
            Self::CreatedAt => Sql::of("a.created_at", "timestamptz"),
            Self::Dags => Sql::of(
                "(select coalesce(jsonb_agg(w.dag_id), '[]') from (
                      select dag_id from dag_asset where asset = a.name
                      union select d.dag_id from dag d join dag_version v on v.version_id = d.current_version_id
                            where v.graph @? format('$.tasks[*].outlets[*] ? (@ == %s)', to_json(a.name))::jsonpath) w)",
                "jsonb",
            ),
        }
    }
}

/// Which assets.
pub type AssetFilter = Selection<AssetColumn>;

const ASSETS: Source = Source {
    columns: "a.asset_id, a.name, a.created_at, e.event_id as last_event, e.happened_at as last_event_at",
    from: "asset a",
    joins: "left join lateral (
                select event_id, happened_at from asset_event where asset = a.name order by event_id desc limit 1
            ) e on true",
    key: &[Sql::of("a.asset_id", "int")],
};

/// Assets; if nothing else is said, in the order in which they became known.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, filter: &AssetFilter, page: Page) -> sqlx::Result<Listed<AssetListed>> {
    select::list(conn, ASSETS, filter, page).await
}

/// A task that makes an asset.
#[derive(Clone, Debug)]
pub struct Producer {
    /// The asset.
    pub asset: String,
    /// Its DAG.
    pub dag_id: DagId,
    /// The task.
    pub task_id: TaskId,
}

/// The tasks that make these assets, in the current versions of their DAGs.
///
/// # Errors
/// The database is down.
pub async fn producers(conn: &mut PgConnection, assets: &[String]) -> sqlx::Result<Vec<Producer>> {
    sqlx::query_as!(
        Producer,
        r#"select o.asset as "asset!", d.dag_id as "dag_id: DagId", t.task ->> 'task_id' as "task_id!: TaskId"
           from dag d join dag_version v on v.version_id = d.current_version_id
           cross join lateral jsonb_array_elements(v.graph -> 'tasks') as t(task)
           cross join lateral jsonb_array_elements_text(coalesce(t.task -> 'outlets', '[]')) as o(asset)
           where o.asset = any($1) order by 2, 3"#,
        assets
    )
    .fetch_all(conn)
    .await
}

/// The DAGs that wait for these assets.
///
/// # Errors
/// The database is down.
pub async fn waiting(conn: &mut PgConnection, assets: &[String]) -> sqlx::Result<Vec<(String, DagId)>> {
    let rows = sqlx::query!(
        r#"select asset, dag_id as "dag_id: DagId" from dag_asset where asset = any($1) order by asset, dag_id"#,
        assets
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(|row| (row.asset, row.dag_id)).collect())
}

/// An update of an asset.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct EventListed {
    /// Its number.
    pub event_id: i64,
    /// The number of the asset.
    pub asset_id: i32,
    /// The asset.
    pub asset: String,
    /// The DAG that updated it; none: something outside.
    pub source_dag_id: Option<DagId>,
    /// The run.
    pub source_run_id: Option<RunId>,
    /// The task.
    pub source_task_id: Option<TaskId>,
    /// Its index in a mapped task.
    pub source_map_index: Option<i32>,
    /// What was said with it.
    pub extra: Value,
    /// When.
    pub happened_at: DateTime<Utc>,
}

/// What updates are chosen and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventColumn {
    /// Their number.
    EventId,
    /// The number of the asset.
    AssetId,
    /// The asset.
    Asset,
    /// The DAG that updated it.
    SourceDag,
    /// The run.
    SourceRun,
    /// The task.
    SourceTask,
    /// Its index in a mapped task.
    SourceMapIndex,
    /// When.
    When,
}

impl Column for EventColumn {
    fn sql(self) -> Sql {
        match self {
            Self::EventId => Sql::of("e.event_id", "bigint"),
            Self::AssetId => Sql::of("a.asset_id", "int").joined(),
            Self::Asset => Sql::of("e.asset", "text"),
            Self::SourceDag => Sql::maybe("e.source_dag_id", "text"),
            Self::SourceRun => Sql::maybe("e.source_run_id", "text"),
            Self::SourceTask => Sql::maybe("e.source_task_id", "text"),
            Self::SourceMapIndex => Sql::maybe("e.source_map_index", "int"),
            Self::When => Sql::of("e.happened_at", "timestamptz"),
        }
    }
}

/// Which updates.
pub type EventFilter = Selection<EventColumn>;

const EVENTS: Source = Source {
    columns: "e.event_id, a.asset_id, e.asset, e.source_dag_id, e.source_run_id, e.source_task_id, e.source_map_index,
              e.extra, e.happened_at",
    from: "asset_event e",
    joins: "join asset a on a.name = e.asset",
    key: &[Sql::of("e.event_id", "bigint")],
};

/// Updates; if nothing else is said, the oldest first.
///
/// # Errors
/// The database is down.
pub async fn events(conn: &mut PgConnection, filter: &EventFilter, page: Page) -> sqlx::Result<Listed<EventListed>> {
    select::list(conn, EVENTS, filter, page).await
}

/// The updates that made a run, the oldest first.
///
/// # Errors
/// The database is down.
pub async fn causes(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Vec<EventListed>> {
    sqlx::query_as!(
        EventListed,
        r#"select e.event_id, a.asset_id, e.asset, e.source_dag_id as "source_dag_id: DagId",
                  e.source_run_id as "source_run_id: RunId", e.source_task_id as "source_task_id: TaskId",
                  e.source_map_index, e.extra, e.happened_at
           from run_asset_event m join asset_event e using (event_id) join asset a on a.name = e.asset
           where m.run_key = $1 order by e.event_id"#,
        run.0
    )
    .fetch_all(conn)
    .await
}

/// A run that an update made.
#[derive(Clone, Debug)]
pub struct MadeRun {
    /// The update.
    pub event_id: i64,
    /// The DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
    /// Where it is.
    pub state: RunState,
    /// The date that it stands for.
    pub logical_date: Option<DateTime<Utc>>,
    /// The beginning of its data interval.
    pub data_interval_start: Option<DateTime<Utc>>,
    /// The end of its data interval.
    pub data_interval_end: Option<DateTime<Utc>>,
    /// When it was queued.
    pub queued_at: DateTime<Utc>,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
}

/// The runs that these updates made.
///
/// # Errors
/// The database is down.
pub async fn made_runs(conn: &mut PgConnection, events: &[i64]) -> sqlx::Result<Vec<MadeRun>> {
    sqlx::query_as!(
        MadeRun,
        r#"select m.event_id, r.dag_id as "dag_id: DagId", r.run_id as "run_id: RunId", r.state as "state: RunState",
                  r.logical_date, r.data_interval_start, r.data_interval_end, r.queued_at, r.start_date, r.end_date
           from run_asset_event m join dag_run r using (run_key) where m.event_id = any($1) order by r.run_key"#,
        events
    )
    .fetch_all(conn)
    .await
}

/// An update for which a DAG has not run yet.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct QueuedListed {
    /// The DAG that waits.
    pub dag_id: DagId,
    /// The number of the asset.
    pub asset_id: i32,
    /// When it was updated.
    pub happened_at: DateTime<Utc>,
}

/// Which updates, of those for which a DAG has not run yet.
#[derive(Clone, Debug, Default)]
pub struct QueueFilter {
    /// For this DAG; none: for any.
    pub dag_id: Option<DagId>,
    /// Of this asset; none: of any.
    pub asset_id: Option<i32>,
    /// That happened before this instant; none: whenever.
    pub before: Option<DateTime<Utc>>,
}

/// The updates for which DAGs have not run yet, the latest of each asset.
///
/// # Errors
/// The database is down.
pub async fn queued(conn: &mut PgConnection, which: &QueueFilter) -> sqlx::Result<Vec<QueuedListed>> {
    sqlx::query_as!(
        QueuedListed,
        r#"select distinct on (q.dag_id, a.asset_id) q.dag_id as "dag_id: DagId", a.asset_id, e.happened_at
           from asset_queue q join asset_event e using (event_id) join asset a on a.name = q.asset
           where ($1::text is null or q.dag_id = $1) and ($2::int is null or a.asset_id = $2)
             and ($3::timestamptz is null or e.happened_at < $3)
           order by q.dag_id, a.asset_id, q.event_id desc"#,
        which.dag_id.as_ref().map(DagId::as_str),
        which.asset_id,
        which.before
    )
    .fetch_all(conn)
    .await
}

/// Forgets them; says how many.
///
/// # Errors
/// The database is down.
pub async fn forget_queued(conn: &mut PgConnection, which: &QueueFilter) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "delete from asset_queue q using asset a
         where a.name = q.asset and ($1::text is null or q.dag_id = $1) and ($2::int is null or a.asset_id = $2)
           and ($3::timestamptz is null
                or not exists (select from asset_event e where e.event_id = q.event_id and e.happened_at >= $3))",
        which.dag_id.as_ref().map(DagId::as_str),
        which.asset_id,
        which.before
    );
    Ok(done.execute(conn).await?.rows_affected())
}
