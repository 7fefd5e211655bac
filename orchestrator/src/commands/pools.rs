//! Pools: make, change, delete.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{By, Refused};
use crate::{
    dag::DEFAULT_POOL,
    store::{
        events,
        pools::{self, NewPool},
    },
};

/// Airflow's limit for the names of pools.
const NAME_LENGTH_MAX: usize = 256;

/// Makes a pool. Tasks that wait for one of that name go on at the scheduler's next pass.
///
/// # Errors
/// [`Refused`].
pub async fn create_pool(conn: &mut PgConnection, pool: &NewPool<'_>, by: &By) -> Result<(), Refused> {
    check(pool)?;
    let mut tx = conn.begin().await?;
    if !pools::insert_if_new(&mut tx, pool).await? {
        return Err(Refused::PoolExists(pool.name.to_owned()));
    }
    write_down(&mut tx, "post_pool", pool, by).await?;
    tx.commit().await?;
    Ok(())
}

/// Changes a pool. What has passed it already stays, even if it has fewer slots now.
///
/// # Errors
/// [`Refused`].
pub async fn update_pool(conn: &mut PgConnection, pool: &NewPool<'_>, by: &By) -> Result<(), Refused> {
    check(pool)?;
    let mut tx = conn.begin().await?;
    if !pools::update(&mut tx, pool).await? {
        return Err(Refused::NoPool(pool.name.to_owned()));
    }
    write_down(&mut tx, "patch_pool", pool, by).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes a pool; tasks that name it wait from now on. The default pool stays.
///
/// # Errors
/// [`Refused`].
pub async fn delete_pool(conn: &mut PgConnection, name: &str, by: &By) -> Result<(), Refused> {
    if name == DEFAULT_POOL {
        return Err(Refused::Invalid("Default Pool can't be deleted".to_owned()));
    }
    let mut tx = conn.begin().await?;
    if !pools::delete(&mut tx, name).await? {
        return Err(Refused::NoPool(name.to_owned()));
    }
    let gone = NewPool { name, slots: 0, description: None, include_deferred: false };
    write_down(&mut tx, "delete_pool", &gone, by).await?;
    tx.commit().await?;
    Ok(())
}

fn check(pool: &NewPool<'_>) -> Result<(), Refused> {
    if pool.name.is_empty() || pool.name.len() > NAME_LENGTH_MAX {
        return Err(Refused::Invalid(format!("a pool needs a name of at most {NAME_LENGTH_MAX} characters")));
    }
    if pool.slots < -1 {
        return Err(Refused::Invalid("a pool has 0 slots or more, or -1 for no limit".to_owned()));
    }
    Ok(())
}

async fn write_down(tx: &mut PgConnection, event: &str, pool: &NewPool<'_>, by: &By) -> sqlx::Result<()> {
    let extra = json!({ "pool": pool.name, "slots": pool.slots, "include_deferred": pool.include_deferred });
    let event = events::Event { event, dag_id: None, run_id: None, by, extra };
    events::append(tx, &event).await
}
