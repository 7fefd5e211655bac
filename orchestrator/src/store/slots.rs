//! `slots`: how many there are of each limit that spans runs, and how many are taken. The rules are in
//! [`engine`](crate::engine).

use sqlx::PgConnection;

use crate::engine::Gate;

/// A limit that spans runs.
#[derive(Clone, Debug)]
pub struct Slots {
    /// How many there are; -1: without limit.
    pub total: i32,
    /// How many are taken.
    pub used: i32,
}

/// Locks the slots of a gate; none if there is no such gate. After the runs, in the order of the gates.
///
/// # Errors
/// The database is down.
pub async fn lock(conn: &mut PgConnection, gate: &Gate) -> sqlx::Result<Option<Slots>> {
    sqlx::query_as!(Slots, "select total, used from slots where gate = $1 for no key update", gate.as_str())
        .fetch_optional(conn)
        .await
}

/// Takes or gives back slots of a gate; hold its lock.
///
/// # Errors
/// The database is down.
pub async fn set_used(conn: &mut PgConnection, gate: &Gate, used: i32) -> sqlx::Result<()> {
    sqlx::query!("update slots set used = $2 where gate = $1", gate.as_str(), used).execute(conn).await?;
    Ok(())
}

/// The gates that have room and at which somebody stands in line.
///
/// # Errors
/// The database is down.
pub async fn gates_with_room(conn: &mut PgConnection) -> sqlx::Result<Vec<Gate>> {
    sqlx::query_scalar!(
        r#"select gate as "gate: Gate" from slots s
           where (total < 0 or used < total)
             and exists (select from task_instance
                         where state = 'scheduled' and waits_for <> 'run' and waits_for = s.gate)
           order by gate"#
    )
    .fetch_all(conn)
    .await
}

/// Every gate that spans runs.
///
/// # Errors
/// The database is down.
pub async fn gates(conn: &mut PgConnection) -> sqlx::Result<Vec<Gate>> {
    sqlx::query_scalar!(r#"select gate as "gate: Gate" from slots order by gate"#).fetch_all(conn).await
}

/// A count of slots that was not what the task instances say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drift {
    /// What it was.
    pub was: i32,
    /// What it is now.
    pub counted: i32,
}

/// Counts anew how many slots of a gate are taken; none if that was known. Locks the gate.
///
/// # Errors
/// The database is down.
pub async fn recount(conn: &mut PgConnection, gate: &Gate) -> sqlx::Result<Option<Drift>> {
    // A statement of its own: one that waits for the lock would count with an old snapshot.
    let Some(slots) = lock(conn, gate).await? else { return Ok(None) };
    let counted = count_used(conn, gate).await?;
    if counted == slots.used {
        return Ok(None);
    }
    set_used(conn, gate, counted).await?;
    Ok(Some(Drift { was: slots.used, counted }))
}

async fn count_used(conn: &mut PgConnection, gate: &Gate) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"with holding as (
               -- One part for each of the partial indexes.
               select dag_id, task_id, pool, pool_slots, true as in_pool from task_instance where state = 'queued'
               union all
               select dag_id, task_id, pool, pool_slots, true from task_instance where state in ('running', 'restarting')
               union all
               select dag_id, task_id, pool, pool_slots, false from task_instance
               where state = 'scheduled' and waits_for <> 'run' and waits_for like 'pool:%'
               union all
               select dag_id, '', pool, pool_slots, true from task_instance
               where state = 'deferred' and waits_for is not null
           )
           select coalesce(sum(case when $1 = 'pool:' || pool and in_pool then pool_slots
                                    when $1 = 'task:' || dag_id || '/' || task_id then 1 else 0 end), 0)::int as "used!"
           from holding"#,
        gate.as_str()
    )
    .fetch_one(conn)
    .await
}

/// Makes the row of a gate, or changes how many slots it has; false if it has as many.
///
/// # Errors
/// The database is down.
pub async fn set_total(conn: &mut PgConnection, gate: &Gate, total: i32) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into slots (gate, total) values ($1, $2)
         on conflict (gate) do update set total = excluded.total where slots.total <> excluded.total",
        gate.as_str(),
        total
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
