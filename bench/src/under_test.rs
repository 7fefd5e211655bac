//! The engine under test: a Postgres of its own, and in this process the services of `standalone` without its web server.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use local::{
    ports::Ports,
    postgres::Postgres,
    state::{State, postgres_data_of_root},
};
use orchestrator::{
    commands::{self, By, ManualRun},
    dag::{DEFAULT_POOL, Registry},
    engine::{Gate, Graphs},
    ids::{DagId, RunId},
    scheduler::{Scheduler, register},
    state::RunState,
    store,
    wake::Wake,
    worker::{Settings, Worker},
};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

/// A Postgres that is there for one measurement.
pub(crate) struct OwnPostgres {
    postgres: Postgres,
    folders: [PathBuf; 2],
    pub(crate) url: String,
    pub(crate) postmaster: u32,
}

impl OwnPostgres {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        // On disk beside the build, not in a /tmp that may be memory.
        let folder = std::env::current_dir()?.join("target").join(format!("bench-{}", std::process::id()));
        let state = State::take(&folder)?;
        let mut postgres = Postgres::start(&state, Ports::free()?.postgres).await?;
        let url = postgres.database("bench").await?;
        let postmaster = postgres.child().pid().context("Postgres has ended")?;
        let folders = [postgres_data_of_root(state.root()), folder];
        Ok(Self { postgres, folders, url, postmaster })
    }

    pub(crate) async fn stop(self) {
        self.postgres.stop().await;
        for folder in self.folders {
            std::fs::remove_dir_all(folder).ok();
        }
    }
}

/// The engine under test.
pub(crate) struct Engine {
    pool: PgPool,
    registry: Arc<Registry>,
    graphs: Graphs,
    wake: Wake,
}

impl Engine {
    pub(crate) async fn start(pool: &PgPool, registry: Arc<Registry>) -> anyhow::Result<Self> {
        register(&mut *pool.acquire().await?, &registry).await?;
        Ok(Self { pool: pool.clone(), registry, graphs: Graphs::default(), wake: Wake::default() })
    }

    /// Runs until `stop`.
    pub(crate) fn serve(&self, slots: u32, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let settings = Settings { slots, ..Settings::default() };
        let (pool, registry) = (self.pool.clone(), Arc::clone(&self.registry));
        let worker = Worker::new(pool, registry, self.graphs.clone(), self.wake.clone(), settings);
        let (pool, registry) = (self.pool.clone(), Arc::clone(&self.registry));
        let scheduler = Scheduler::new(pool, registry, self.graphs.clone(), self.wake.clone());
        let (wake, pool, stop) = (self.wake.clone(), self.pool.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::join!(
                worker.run(stop.clone()),
                scheduler.run(stop.clone()),
                wake.carry(pool.clone(), Some(pool), stop)
            );
        })
    }

    pub(crate) async fn set_pool(&self, slots: i32) -> anyhow::Result<()> {
        let mut conn = self.pool.acquire().await?;
        store::slots::set_total(&mut conn, &Gate::pool(DEFAULT_POOL), slots).await?;
        Ok(())
    }

    /// Makes a run.
    pub(crate) async fn trigger(&self, dag: &str) -> anyhow::Result<RunId> {
        let mut conn = self.pool.acquire().await?;
        let run = commands::trigger(&mut conn, &self.graphs, &dag.into(), ManualRun::default(), &By::test()).await?;
        self.wake.everybody();
        Ok(run)
    }

    /// Makes so many runs and waits for their end; says how long the making took.
    pub(crate) async fn round(&self, dag: &str, runs: u32) -> anyhow::Result<Duration> {
        let mut conn = self.pool.acquire().await?;
        let (began, mut made) = (Instant::now(), Vec::new());
        for _ in 0..runs {
            let run = ManualRun::default();
            made.push(commands::trigger(&mut conn, &self.graphs, &dag.into(), run, &By::test()).await?);
        }
        let created = began.elapsed();
        self.wake.everybody();
        for run in &made {
            success(&mut conn, &dag.into(), run).await?;
        }
        Ok(created)
    }

    /// Waits for the end of a run.
    pub(crate) async fn success(&self, dag: &str, run: &RunId) -> anyhow::Result<()> {
        success(&mut *self.pool.acquire().await?, &dag.into(), run).await
    }
}

async fn success(conn: &mut PgConnection, dag: &DagId, run: &RunId) -> anyhow::Result<()> {
    let state = loop {
        let found = store::pages::runs::get(conn, dag, run).await?;
        let state = found.context("the run is gone")?.state;
        if state.is_finished() {
            break state;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    ensure!(state == RunState::Success, "the run {run} ended {state}");
    Ok(())
}
