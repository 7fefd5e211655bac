//! `pool`, and what its gate says of it.

use sqlx::PgConnection;

use crate::engine::Gate;

/// A pool, as people see it.
#[derive(Clone, Debug)]
pub struct PoolListed {
    /// Its name.
    pub name: String,
    /// How many slots it has; -1: without limit.
    pub slots: i32,
    /// What it is for.
    pub description: Option<String>,
    /// Whether tasks keep their slots while they are deferred. A change counts for those that begin to wait after it.
    pub include_deferred: bool,
    /// Slots of tasks that run.
    pub running: i64,
    /// Slots of tasks that wait for a worker.
    pub queued: i64,
    /// Slots that tasks in line for it would take.
    pub scheduled: i64,
    /// Slots of deferred tasks, which they keep if the pool includes them.
    pub deferred: i64,
}

impl PoolListed {
    /// Its slots that are taken.
    #[must_use]
    pub fn taken(&self) -> i64 {
        self.running + self.queued + if self.include_deferred { self.deferred } else { 0 }
    }

    /// How much of it is taken, of 1000; of one without limit nothing is.
    #[must_use]
    pub fn taken_permille(&self) -> i64 {
        if self.slots <= 0 { 0 } else { (self.taken() * 1_000 / i64::from(self.slots)).min(1_000) }
    }
}

/// The pools whose name is this one, or all, in the order of their names.
///
/// # Errors
/// The database is down.
pub async fn list(conn: &mut PgConnection, name: Option<&str>) -> sqlx::Result<Vec<PoolListed>> {
    sqlx::query_as!(
        PoolListed,
        r#"with taken as (
               -- One part for each of the partial indexes: there is none by pool.
               select pool, pool_slots, 'queued' as what from task_instance where state = 'queued'
               union all
               select pool, pool_slots, 'running' from task_instance where state in ('running', 'restarting')
               union all
               select pool, pool_slots, 'scheduled' from task_instance where state = 'scheduled' and waits_for <> 'run'
               union all
               select pool, pool_slots, 'scheduled' from task_instance where state = 'scheduled' and waits_for = 'run'
               union all
               select pool, pool_slots, 'deferred' from task_instance where state = 'deferred'
           )
           select p.name, s.total as slots, p.description, p.include_deferred,
                  coalesce(sum(t.pool_slots) filter (where what = 'running'), 0) as "running!",
                  coalesce(sum(t.pool_slots) filter (where what = 'queued'), 0) as "queued!",
                  coalesce(sum(t.pool_slots) filter (where what = 'scheduled'), 0) as "scheduled!",
                  coalesce(sum(t.pool_slots) filter (where what = 'deferred'), 0) as "deferred!"
           from pool p join slots s on s.gate = 'pool:' || p.name left join taken t on t.pool = p.name
           where $1::text is null or p.name = $1
           group by p.name, s.total
           order by p.name"#,
        name
    )
    .fetch_all(conn)
    .await
}

/// What a pool is to be.
#[derive(Clone, Debug)]
pub struct NewPool<'p> {
    /// Its name.
    pub name: &'p str,
    /// How many slots it has; -1: without limit.
    pub slots: i32,
    /// What it is for.
    pub description: Option<&'p str>,
    /// Whether tasks keep their slots while they are deferred. A change counts for those that begin to wait after it.
    pub include_deferred: bool,
}

/// Makes a pool; false if there is one of that name.
///
/// # Errors
/// The database is down.
pub async fn insert_if_new(conn: &mut PgConnection, pool: &NewPool<'_>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into pool (name, description, include_deferred) values ($1, $2, $3) on conflict do nothing",
        pool.name,
        pool.description,
        pool.include_deferred
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 1 {
        super::slots::set_total(conn, &Gate::pool(pool.name), pool.slots).await?;
    }
    Ok(done.rows_affected() == 1)
}

/// Changes a pool; false if there is none of that name.
///
/// # Errors
/// The database is down.
pub async fn update(conn: &mut PgConnection, pool: &NewPool<'_>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update pool set description = $2, include_deferred = $3 where name = $1",
        pool.name,
        pool.description,
        pool.include_deferred
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 1 {
        super::slots::set_total(conn, &Gate::pool(pool.name), pool.slots).await?;
    }
    Ok(done.rows_affected() == 1)
}

/// Deletes a pool. Tasks that name it wait until there is one of that name again; its count of taken slots stays, for
/// they are still to be given back.
///
/// # Errors
/// The database is down.
pub async fn delete(conn: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!("delete from pool where name = $1", name).execute(&mut *conn).await?;
    if done.rows_affected() == 1 {
        super::slots::set_total(conn, &Gate::pool(name), 0).await?;
    }
    Ok(done.rows_affected() == 1)
}
