//! `notification` and `deadline`: what callbacks are to be told, and when runs are late.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ids::{InstanceKey, RunKey},
    notify::{Event, Notice},
};

/// Writes down what happened to task instances, with the causes.
///
/// # Errors
/// The database is down.
pub async fn about_tasks(conn: &mut PgConnection, happened: &[(InstanceKey, Event, Option<&str>)]) -> sqlx::Result<()> {
    let instances: Vec<_> = happened.iter().map(|(instance, ..)| instance.0).collect();
    let events: Vec<_> = happened.iter().map(|(_, event, _)| event.as_str().to_owned()).collect();
    let causes: Vec<_> = happened.iter().map(|(.., cause)| cause.map(ToOwned::to_owned)).collect();
    sqlx::query!(
        "insert into notification (event, dag_id, run_id, logical_date, task_id, map_index, try_number, cause)
         select h.event, r.dag_id, r.run_id, r.logical_date, t.task_id, t.map_index, t.try_number, h.cause
         from unnest($1::bigint[], $2::text[], $3::text[]) as h(instance_key, event, cause)
         join task_instance t using (instance_key) join dag_run r using (run_key)",
        &instances,
        &events,
        &causes as &[Option<String>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down what happened to runs.
///
/// # Errors
/// The database is down.
pub async fn about_runs(conn: &mut PgConnection, happened: &[(RunKey, Event)]) -> sqlx::Result<()> {
    let runs: Vec<_> = happened.iter().map(|(run, _)| run.0).collect();
    let events: Vec<_> = happened.iter().map(|(_, event)| event.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into notification (event, dag_id, run_id, logical_date)
         select h.event, r.dag_id, r.run_id, r.logical_date
         from unnest($1::bigint[], $2::text[]) as h(run_key, event) join dag_run r using (run_key)",
        &runs,
        &events
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Something that is to be told now.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its key.
    pub notification_id: i64,
    /// What is to be told.
    pub notice: Notice,
    /// Of a missed deadline: which one of the DAG's.
    pub ordinal: i32,
    /// How often it has been tried, this time included.
    pub attempts: i32,
    /// Those who have been told of it, by their places among those who are to be.
    pub told: Vec<i32>,
}

/// Takes one of what is due about these DAGs; nobody else gets it before `lease` is over.
///
/// # Errors
/// The database is down.
pub async fn take_one(conn: &mut PgConnection, dags: &[String], lease: Duration) -> sqlx::Result<Option<Taken>> {
    let row = sqlx::query!(
        r#"update notification set attempts = attempts + 1, due_at = now() + make_interval(secs => $2)
           where notification_id = (
               select notification_id from notification where due_at <= now() and dag_id = any($1)
               order by due_at limit 1 for update skip locked)
           returning notification_id, event as "event: Event", dag_id, run_id, logical_date, task_id, map_index,
                     try_number, cause, ordinal, happened_at, attempts, told"#,
        dags,
        lease.as_secs_f64()
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Taken {
        notification_id: row.notification_id,
        ordinal: row.ordinal,
        attempts: row.attempts,
        told: row.told,
        notice: Notice {
            event: row.event,
            dag_id: row.dag_id.into(),
            run_id: row.run_id.into(),
            logical_date: row.logical_date,
            task_id: row.task_id.map(Into::into),
            map_index: row.map_index,
            try_number: row.try_number,
            cause: row.cause,
            happened_at: row.happened_at,
        },
    }))
}

/// Forgets what has been told, or cannot be.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, notification: i64) -> sqlx::Result<()> {
    sqlx::query!("delete from notification where notification_id = $1", notification).execute(conn).await?;
    Ok(())
}

/// Tells the others later.
///
/// # Errors
/// The database is down.
pub async fn put_off(conn: &mut PgConnection, notification: i64, delay: Duration, told: &[i32]) -> sqlx::Result<()> {
    sqlx::query!(
        "update notification set due_at = now() + make_interval(secs => $2), told = $3 where notification_id = $1",
        notification,
        delay.as_secs_f64(),
        told
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Leaves it to another scheduler: it has not been tried.
///
/// # Errors
/// The database is down.
pub async fn leave(conn: &mut PgConnection, notification: i64, delay: Duration) -> sqlx::Result<()> {
    sqlx::query!(
        "update notification set due_at = now() + make_interval(secs => $2), attempts = attempts - 1
         where notification_id = $1",
        notification,
        delay.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets the deadlines of a run.
///
/// # Errors
/// The database is down.
pub async fn set_deadlines(conn: &mut PgConnection, run: RunKey, due: &[(i32, DateTime<Utc>)]) -> sqlx::Result<()> {
    let (ordinals, instants): (Vec<_>, Vec<_>) = due.iter().copied().unzip();
    sqlx::query!(
        "insert into deadline (run_key, ordinal, due_at)
         select $1, d.ordinal, d.due_at from unnest($2::int[], $3::timestamptz[]) as d(ordinal, due_at)",
        run.0,
        &ordinals,
        &instants
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves those deadlines of a run that have not passed.
///
/// # Errors
/// The database is down.
pub async fn move_deadlines(conn: &mut PgConnection, run: RunKey, due: &[(i32, DateTime<Utc>)]) -> sqlx::Result<()> {
    let (ordinals, instants): (Vec<_>, Vec<_>) = due.iter().copied().unzip();
    sqlx::query!(
        "update deadline d set due_at = m.due_at from unnest($2::int[], $3::timestamptz[]) as m(ordinal, due_at)
         where d.run_key = $1 and d.ordinal = m.ordinal",
        run.0,
        &ordinals,
        &instants
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the deadlines that have passed, and writes down which of their runs had not ended by then. Says how many.
///
/// # Errors
/// The database is down.
pub async fn miss_deadlines(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "with passed as (
             delete from deadline d using dag_run r
             where r.run_key = d.run_key and (d.run_key, d.ordinal) in (
                 select run_key, ordinal from deadline where due_at <= $1 order by due_at limit 1000
                 for update skip locked)
             returning d.ordinal, d.due_at, r.dag_id, r.run_id, r.logical_date, r.end_date
         )
         insert into notification (event, dag_id, run_id, logical_date, ordinal)
         select 'deadline_missed', dag_id, run_id, logical_date, ordinal from passed
         where end_date is null or end_date > due_at",
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
