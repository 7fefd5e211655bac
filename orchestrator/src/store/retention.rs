//! Deleting what is old: runs in small batches, their history by dropping the partitions of their days.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::ids::{DagId, RunId};

/// Task instances that one transaction deletes, about: more would hold its locks, and the disk, for too long.
const INSTANCES_MAX: i64 = 5_000;

/// Deletes some of the runs that ended before `before`, the oldest first, with their task instances; says how many. The last
/// run of a DAG that nobody made by hand stays, as in Airflow: the next one may owe something to it.
///
/// # Errors
/// The database is down.
pub async fn delete_runs(conn: &mut PgConnection, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "with old as materialized (
             select run_key, end_date from dag_run r
             where state in ('success', 'failed') and end_date < $1
               and (run_type = 'manual' or exists (select from dag_run l where l.dag_id = r.dag_id
                                                   and l.run_type <> 'manual' and l.run_after > r.run_after))
             order by end_date limit 200
         ), counted as materialized (
             select o.run_key, sum(i.instances) over (order by o.end_date, o.run_key) - i.instances as before_it
             from old o cross join lateral (select count(*) as instances from task_instance t where t.run_key = o.run_key) i
         )
         delete from dag_run where run_key in (
             select run_key from dag_run
             where run_key in (select run_key from counted where before_it < $2::bigint) and state in ('success', 'failed')
             for update skip locked)",
        before,
        INSTANCES_MAX
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A run that keeps history of before: it has not ended, and may still need what its tasks have returned.
#[derive(Clone, Debug)]
pub struct Keeps {
    /// The day whose partitions hold it.
    pub day: NaiveDate,
    /// Its DAG.
    pub dag_id: DagId,
    /// The run.
    pub run_id: RunId,
}

/// The run with the oldest history, if that is older than `before`. One that never started has none.
///
/// # Errors
/// The database is down.
pub async fn oldest_kept(conn: &mut PgConnection, before: DateTime<Utc>) -> sqlx::Result<Option<Keeps>> {
    sqlx::query_as!(
        Keeps,
        r#"select run_day as day, dag_id as "dag_id: DagId", run_id as "run_id: RunId" from dag_run
           where run_day < ($1::timestamptz at time zone 'utc')::date
             and not (state in ('success', 'failed') and end_date < $1)
             and not (state = 'queued' and clear_number = 0 and start_date is null)
           order by run_day, run_key limit 1"#,
        before
    )
    .fetch_optional(conn)
    .await
}

/// The partitioned tables, and whether their day is that of a run.
const HISTORY: [(&str, bool); 4] = [("task_try", true), ("task_log", true), ("xcom", true), ("event", false)];

/// How long dropping a partition may wait for whoever reads it; all that writes history waits behind it for as long.
const LOCK_TIMEOUT: &str = "200ms";

/// Drops the partitions of the days before: of the history of runs before `runs`, of events before `events`. One that
/// somebody reads just now is left for the next time. Says which were dropped.
///
/// # Errors
/// The database is down.
pub async fn drop_partitions(conn: &mut PgConnection, runs: NaiveDate, events: NaiveDate) -> sqlx::Result<Vec<String>> {
    let mut dropped = Vec::new();
    for (table, is_of_runs) in HISTORY {
        let before = if is_of_runs { runs } else { events };
        for name in partitions_before(conn, table, before).await? {
            let mut tx = conn.begin().await?;
            sqlx::query(AssertSqlSafe(format!("set local lock_timeout = '{LOCK_TIMEOUT}'"))).execute(&mut *tx).await?;
            // The name is one of ours: a table and a day.
            match sqlx::query(AssertSqlSafe(format!("drop table if exists {name}"))).execute(&mut *tx).await {
                Ok(_) => {
                    tx.commit().await?;
                    dropped.push(name);
                }
                Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| IN_THE_WAY.contains(&&*code)) => {
                    tx.rollback().await?;
                    tracing::info!(partition = name, "somebody reads it: it is dropped the next time");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(dropped)
}

/// Postgres's `lock_not_available` and `deadlock_detected`.
const IN_THE_WAY: [&str; 2] = ["55P03", "40P01"];

async fn partitions_before(conn: &mut PgConnection, table: &str, before: NaiveDate) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::query(
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = to_regclass($1) and c.relname ~ ('^' || $1 || '_[0-9]{8}$')
           and right(c.relname, 8) < to_char($2::date, 'YYYYMMDD')
         order by c.relname",
    );
    let rows = rows.bind(table).bind(before).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| row.get(0)).collect())
}

/// Deletes rows of days for which there was no partition, some at a time; says how many.
///
/// # Errors
/// The database is down.
pub async fn delete_from_defaults(conn: &mut PgConnection, runs: NaiveDate, events: NaiveDate) -> sqlx::Result<u64> {
    let mut deleted = 0;
    for (table, is_of_runs) in HISTORY {
        let (day, before) = if is_of_runs { ("run_day", runs) } else { ("happened_on", events) };
        let statement = format!(
            "delete from {table}_default where ctid = any(array(
                 select ctid from {table}_default where {day} < $1 limit 5000))"
        );
        deleted += sqlx::query(AssertSqlSafe(statement)).bind(before).execute(&mut *conn).await?.rows_affected();
    }
    Ok(deleted)
}

/// Deletes updates of assets and signals of before, some at a time; says how many.
///
/// # Errors
/// The database is down.
pub async fn delete_happenings(conn: &mut PgConnection, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let events = sqlx::query!(
        "delete from asset_event where event_id in (
             select event_id from asset_event e where happened_at < $1
               and not exists (select from asset_queue q where q.event_id = e.event_id)
             order by happened_at limit 5000)",
        before
    )
    .execute(&mut *conn)
    .await?;
    let signals = sqlx::query!("delete from signal where posted_at < $1", before).execute(conn).await?;
    Ok(events.rows_affected() + signals.rows_affected())
}
