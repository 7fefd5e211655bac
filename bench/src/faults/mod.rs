//! `bench faults`: rounds of runs while processes die, stand still, and the database goes away. Seeded: the same seed
//! inflicts the same faults in the same order. A round counts only if its fault hit while at least one task ran.

mod check;
pub(crate) mod node;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use local::{
    child::{Child, Program},
    ports::Ports,
    postgres::Postgres,
    state::{State, postgres_data_of_root},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orchestrator::{
    commands::{self, ManualRun, Origin},
    dag::Registry,
    engine::Graphs,
    ids::RunId,
    scheduler::register,
    store,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::Serialize;
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};

use self::node::{DAG, Kind, LEASE};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many rounds.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Which faults, in which order, and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What goes wrong in a round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    /// SIGKILL of a worker.
    KillWorker,
    /// SIGKILL of a scheduler.
    KillScheduler,
    /// SIGSTOP of a worker for longer than its lease; then it comes back, as a zombie.
    FreezeWorker,
    /// `pg_terminate_backend` of every connection, several times.
    CutConnections,
    /// SIGKILL of Postgres, and its restart.
    CrashPostgres,
}

const FAULTS: [Fault; 5] =
    [Fault::KillWorker, Fault::KillScheduler, Fault::FreezeWorker, Fault::CutConnections, Fault::CrashPostgres];

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    rounds: u32,
    /// Rounds whose fault hit while a task ran.
    hits: u32,
    /// The same, fault by fault.
    hits_of: BTreeMap<Fault, u32>,
    attempts: i64,
    /// Attempts that ended because of a fault.
    lost_attempts: i64,
}

/// Longer than the longest rescue, by far.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs of a round.
const RUNS: usize = 2;

pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let folder = std::env::current_dir()?.join("target").join(format!("faults-{}", std::process::id()));
    let state = State::take(&folder)?;
    let mut field = Field::start(state).await?;
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut report = Report {
        seed: options.seed,
        rounds: options.rounds,
        hits: 0,
        hits_of: BTreeMap::new(),
        attempts: 0,
        lost_attempts: 0,
    };
    for round in 0..options.rounds {
        let fault = *FAULTS.choose(&mut random).unwrap_or(&Fault::KillWorker);
        let (next, hit) = field.round(fault, &mut random).await.with_context(|| {
            format!("round {round} of seed {}: {fault:?}; the logs are in {}", options.seed, folder.display())
        })?;
        field = next;
        report.hits += u32::from(hit);
        *report.hits_of.entry(fault).or_default() += u32::from(hit);
    }
    (report.attempts, report.lost_attempts) = check::attempts(&field.pool).await?;
    field.stop().await;
    let of_root = postgres_data_of_root(&folder);
    for folder in [folder, of_root] {
        std::fs::remove_dir_all(folder).ok();
    }
    Ok(report)
}

/// A Postgres, two schedulers, two workers.
struct Field {
    state: State,
    port: u16,
    url: String,
    postgres: Postgres,
    pool: PgPool,
    graphs: Graphs,
    schedulers: Vec<Child>,
    workers: Vec<Child>,
}

impl Field {
    async fn start(state: State) -> anyhow::Result<Self> {
        let port = Ports::free()?.postgres;
        let postgres = Postgres::start(&state, port).await?;
        let url = postgres.database("faults").await?;
        let pool = store::pool(&url, 4)?;
        store::migrate(&pool).await?;
        let registry = Arc::new(Registry::build(vec![node::dag()])?);
        register(&mut *pool.acquire().await?, &registry).await?;
        let spawn = |kind| spawn(&state, &url, kind);
        let schedulers = vec![spawn(Kind::Scheduler)?, spawn(Kind::Scheduler)?];
        let workers = vec![spawn(Kind::Worker)?, spawn(Kind::Worker)?];
        Ok(Self { port, postgres, pool, graphs: Graphs::default(), schedulers, workers, url, state })
    }

    /// Makes runs, lets the fault hit while they run, waits for their end, and looks at the books.
    async fn round(mut self, fault: Fault, random: &mut StdRng) -> anyhow::Result<(Self, bool)> {
        let runs = self.trigger().await?;
        timeout(PATIENCE, check::some_task_runs(&self.pool, &runs)).await.context("nothing ran")??;
        sleep(Duration::from_millis(random.random_range(0..400))).await;
        // Between two layers nothing may run for a moment.
        let hit = loop {
            match (check::running(&self.pool, &runs).await? > 0, check::have_ended(&self.pool, &runs).await?) {
                (true, _) => break true,
                (false, true) => break false,
                (false, false) => sleep(Duration::from_millis(2)).await,
            }
        };
        self = self.inflict(fault, random).await?;
        let deadline = Instant::now() + PATIENCE;
        while !check::have_ended(&self.pool, &runs).await.unwrap_or(false) {
            ensure!(Instant::now() < deadline, "the runs did not end: {}", check::unfinished(&self.pool, &runs).await?);
            sleep(Duration::from_millis(20)).await;
        }
        check::books(&self.pool, &runs).await?;
        Ok((self, hit))
    }

    async fn trigger(&self) -> anyhow::Result<Vec<RunId>> {
        let mut conn = self.pool.acquire().await?;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let run = ManualRun::default();
            runs.push(commands::trigger(&mut conn, &self.graphs, &DAG.into(), run, Origin::Test).await?);
        }
        orchestrator::wake::Wake::announce_once(&self.pool).await;
        Ok(runs)
    }

    async fn inflict(mut self, fault: Fault, random: &mut StdRng) -> anyhow::Result<Self> {
        match fault {
            Fault::KillWorker => {
                let victim = random.random_range(0..self.workers.len());
                self.workers.swap_remove(victim).kill().await;
                self.workers.push(spawn(&self.state, &self.url, Kind::Worker)?);
            }
            Fault::KillScheduler => {
                let victim = random.random_range(0..self.schedulers.len());
                self.schedulers.swap_remove(victim).kill().await;
                self.schedulers.push(spawn(&self.state, &self.url, Kind::Scheduler)?);
            }
            Fault::FreezeWorker => {
                let victim = &self.workers[random.random_range(0..self.workers.len())];
                let pid = Pid::from_raw(i32::try_from(victim.pid().context("the worker has ended")?)?);
                kill(pid, Signal::SIGSTOP)?;
                let held = check::held_by(&self.pool, pid.as_raw()).await?;
                // It comes back while somebody else runs what it had, if it had something: its lease is over then.
                let one_of_them_runs = check::one_runs_elsewhere(&self.pool, &held, pid.as_raw());
                timeout(LEASE * 3, one_of_them_runs).await.unwrap_or(Ok(()))?;
                kill(pid, Signal::SIGCONT)?;
            }
            Fault::CutConnections => {
                for _ in 0..random.random_range(1..6) {
                    check::cut_connections(&self.url).await?;
                    sleep(Duration::from_millis(random.random_range(0..60))).await;
                }
            }
            Fault::CrashPostgres => {
                let Self { state, port, url, postgres, pool, graphs, schedulers, workers } = self;
                postgres.kill().await;
                let postgres = Postgres::start(&state, port).await?;
                self = Self { state, port, url, postgres, pool, graphs, schedulers, workers };
            }
        }
        Ok(self)
    }

    async fn stop(self) {
        for child in self.workers.into_iter().chain(self.schedulers) {
            child.stop(Duration::from_secs(5)).await;
        }
        self.pool.close().await;
        self.postgres.stop().await;
    }
}

fn spawn(state: &State, url: &str, kind: Kind) -> anyhow::Result<Child> {
    let own = std::env::current_exe()?;
    let name = match kind {
        Kind::Scheduler => "scheduler",
        Kind::Worker => "worker",
    };
    let program = Program::new(name, Path::new(&own), &state.logs());
    program.args(["node", "--kind", name, "--url", url]).spawn(Signal::SIGTERM)
}
