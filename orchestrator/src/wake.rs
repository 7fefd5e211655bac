//! Telling schedulers and workers that there is something to do. Within a process by a channel, across processes by
//! `NOTIFY`. Only for speed: everybody polls as well, so a lost wake-up costs a second and never a task.

use std::{convert::Infallible, sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The channel of `LISTEN` and `NOTIFY`.
const CHANNEL: &str = "streamcommerce";

/// How often to look without having been woken.
pub const POLL: Duration = Duration::from_secs(1);

/// Notifications of one process are at least this far apart: `NOTIFY` takes a global lock until its transaction has
/// committed.
const APART: Duration = Duration::from_millis(10);

/// How long to wait before listening again when the connection broke.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// The bells of one process. Cheap to clone; the clones share them.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Bells>);

#[derive(Debug, Default)]
struct Bells {
    scheduler: Notify,
    worker: Notify,
    outside: Notify,
}

impl Wake {
    /// A run was made, ended or unpaused, or a retry was written: the scheduler of this process looks.
    pub fn scheduler(&self) {
        self.0.scheduler.notify_one();
    }

    /// Tasks became claimable: the worker of this process looks.
    pub fn worker(&self) {
        self.0.worker.notify_one();
    }

    /// Wakes everybody in every process, soon. Call it after the commit.
    pub fn everybody(&self) {
        self.scheduler();
        self.worker();
        self.0.outside.notify_one();
    }

    /// Until the scheduler of this process is woken.
    pub async fn scheduler_woken(&self) {
        self.0.scheduler.notified().await;
    }

    /// Until the worker of this process is woken.
    pub async fn worker_woken(&self) {
        self.0.worker.notified().await;
    }

    /// Carries wake-ups from and to other processes until `stop`. `direct` leads to the server itself: who listens through
    /// `PgBouncer` gives its notifications to strangers. Without it, polling alone wakes.
    pub async fn carry(self, pool: PgPool, direct: Option<PgPool>, stop: CancellationToken) {
        let listen = async {
            match &direct {
                Some(direct) => self.listen(direct).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.announce(&pool) => {}
            () = listen => {}
        }
    }

    /// Tells the other processes, once. For commands that end before [`Wake::carry`] could.
    pub async fn announce_once(pool: &PgPool) {
        // A transaction of its own, with nothing to flush.
        if let Err(error) = sqlx::raw_sql("notify streamcommerce").execute(pool).await {
            tracing::debug!(%error, "nobody was notified; they will find out by polling");
        }
    }

    async fn announce(&self, pool: &PgPool) {
        loop {
            self.0.outside.notified().await;
            Self::announce_once(pool).await;
            tokio::time::sleep(APART).await;
        }
    }

    async fn listen(&self, pool: &PgPool) {
        loop {
            let Err(error) = self.forward(pool).await;
            tracing::debug!(%error, "not listening; polling goes on");
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    async fn forward(&self, pool: &PgPool) -> sqlx::Result<Infallible> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        // What was said before we listened.
        self.scheduler();
        self.worker();
        loop {
            listener.recv().await?;
            self.scheduler();
            self.worker();
        }
    }
}
