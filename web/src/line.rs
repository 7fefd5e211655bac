//! The line before the database.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A pool whose users stand in line. The pool itself says after some seconds that the database is down, be it down or be
/// there a crowd; and the engine of `standalone` has the same pool, and no more than its connections in front of it.
#[derive(Clone, Debug)]
pub struct Line {
    pool: PgPool,
    turns: Arc<Semaphore>,
}

impl From<PgPool> for Line {
    fn from(pool: PgPool) -> Self {
        let turns = pool.options().get_max_connections() as usize;
        Self { turns: Arc::new(Semaphore::new(turns)), pool }
    }
}

impl Line {
    /// Waits for a turn, and then as long as the pool lets for a connection.
    ///
    /// # Errors
    /// The database is down.
    pub(crate) async fn acquire(&self) -> sqlx::Result<Turn> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        Ok(Turn { conn: self.pool.acquire().await?, _turn: turn })
    }

    /// The pool, for what does not keep a connection while it works.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    conn: PoolConnection<Postgres>,
    _turn: OwnedSemaphorePermit,
}

impl Deref for Turn {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[sqlx::test]
    async fn a_crowd_is_not_told_that_the_database_is_down(
        options: sqlx::postgres::PgPoolOptions,
        to: sqlx::postgres::PgConnectOptions,
    ) {
        let options = options.max_connections(1).acquire_timeout(Duration::from_millis(500));
        let line = Line::from(options.connect_with(to).await.unwrap());
        let ask = || async {
            let mut turn = line.acquire().await?;
            sqlx::query("select pg_sleep(0.1)").execute(&mut *turn).await
        };
        let asked = futures::future::join_all((0..20).map(|_| ask())).await;
        assert!(asked.iter().all(Result::is_ok), "twenty of 0.1 s each, where the pool waits half a second");
    }
}
