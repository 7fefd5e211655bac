//! `streaming_worker` and `streaming_figure`: what the streaming workers tell of themselves.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

/// A report, as it is kept.
#[derive(Clone, Debug)]
pub struct NewReport<'r> {
    /// The name of the worker.
    pub worker: &'r str,
    /// All of it.
    pub report: &'r Value,
    /// Records that it has committed since it started.
    pub records: i64,
    /// Records that it has not read.
    pub lag_records: i64,
}

/// Keeps a report in place of the one before; its figures for some hours, and a worker that is gone for a day.
///
/// # Errors
/// The database is down.
pub async fn put(conn: &mut PgConnection, new: &NewReport<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "with kept as (
             insert into streaming_worker (worker, seen_at, report) values ($1, now(), $2)
             on conflict (worker) do update set seen_at = now(), report = excluded.report),
         forgotten as (delete from streaming_figure where at < now() - interval '6 hours'),
         gone as (delete from streaming_worker where worker <> $1 and seen_at < now() - interval '1 day')
         insert into streaming_figure (worker, at, records, lag_records) values ($1, now(), $3, $4)
         on conflict do nothing",
        new.worker,
        new.report,
        new.records,
        new.lag_records
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A worker, and what it told last.
#[derive(Clone, Debug)]
pub struct WorkerRow {
    /// Its name.
    pub worker: String,
    /// When it told that.
    pub seen_at: DateTime<Utc>,
    /// Its report.
    pub report: Value,
}

/// The workers that were heard of in the last day, by name.
///
/// # Errors
/// The database is down.
pub async fn workers(conn: &mut PgConnection) -> sqlx::Result<Vec<WorkerRow>> {
    sqlx::query_as!(
        WorkerRow,
        "select worker, seen_at, report from streaming_worker where seen_at > now() - interval '1 day' order by worker"
    )
    .fetch_all(conn)
    .await
}

/// What a worker had done at an instant.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The worker.
    pub worker: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Records that it had committed since it started.
    pub records: i64,
    /// Records that it had not read.
    pub lag_records: i64,
}

/// The figures since an instant, of one worker after the other, each from the first to the last.
///
/// # Errors
/// The database is down.
pub async fn figures(conn: &mut PgConnection, since: DateTime<Utc>) -> sqlx::Result<Vec<Figure>> {
    sqlx::query_as!(
        Figure,
        "select worker, at, records, lag_records from streaming_figure where at >= $1 order by worker, at",
        since
    )
    .fetch_all(conn)
    .await
}
