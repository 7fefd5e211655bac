//! What the faults hit: a Postgres, two schedulers and two workers, each a process.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use local::{
    child::{Child, Program},
    ports::Ports,
    postgres::Postgres,
    state::State,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orchestrator::{
    commands::{self, By, Choice, Clear, ManualRun, RunChoice, TaskChoice},
    dag::Registry,
    engine::Graphs,
    ids::RunId,
    scheduler::register,
    store::{self, pools::NewPool},
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Fault, check,
    clock::Clock,
    node::{self, DAG, FREEZE, Kind, LAYERS, LEASE, TICKS, WIDTH},
};

/// Longer than the longest rescue, by far.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs of a round.
const RUNS: usize = 2;

/// What everything happens to.
pub(super) struct Field {
    state: State,
    port: u16,
    url: String,
    postgres: Postgres,
    pool: PgPool,
    graphs: Graphs,
    clock: Option<Clock>,
    schedulers: Vec<Child>,
    workers: Vec<Child>,
}

impl Field {
    pub(super) async fn start(state: State) -> anyhow::Result<Self> {
        let port = Ports::free()?.postgres;
        let postgres = Postgres::start(&state, port).await?;
        let url = postgres.database("faults").await?;
        let pool = store::pool(&url, 4)?;
        store::migrate(&pool).await?;
        let mut conn = pool.acquire().await?;
        let ticks = NewPool { name: TICKS, slots: -1, description: None, include_deferred: false };
        commands::create_pool(&mut conn, &ticks, &By::test()).await?;
        register(&mut conn, &Arc::new(Registry::build(node::dags(&pool))?)).await?;
        drop(conn);
        let clock = Clock::find(state.root())?;
        let (schedulers, workers) = (Vec::new(), Vec::new());
        let mut field =
            Self { port, postgres, pool, graphs: Graphs::default(), clock, schedulers, workers, url, state };
        for _ in 0..2 {
            field.schedulers.push(field.spawn(Kind::Scheduler)?);
            field.workers.push(field.spawn(Kind::Worker)?);
        }
        Ok(field)
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn can_inflict(&self, fault: Fault) -> bool {
        fault != Fault::StepClock || self.clock.is_some()
    }

    /// Makes runs, lets the fault hit while they run, waits for their end, and looks at the books.
    pub(super) async fn round(mut self, fault: Fault, random: &mut StdRng) -> anyhow::Result<(Self, bool)> {
        let freezes = (fault == Fault::FreezeAtEnd).then(|| node::name(random.random_range(0..LAYERS), 1));
        let runs = self.trigger(freezes.as_deref()).await?;
        timeout(PATIENCE, check::some_task_runs(&self.pool, &runs)).await.context("nothing ran")??;
        let hit = match freezes {
            Some(task) => self.thaw(&task, &runs).await?,
            None => {
                sleep(Duration::from_millis(random.random_range(0..400))).await;
                let hit = self.something_runs(&runs).await?;
                self = self.inflict(fault, &runs, random).await?;
                hit
            }
        };
        let deadline = Instant::now() + PATIENCE;
        while !check::have_ended(&self.pool, &runs).await.unwrap_or(false) {
            ensure!(Instant::now() < deadline, "the runs did not end: {}", check::unfinished(&self.pool, &runs).await?);
            sleep(Duration::from_millis(20)).await;
        }
        check::books(&self.pool, &runs).await?;
        if fault != Fault::Clear {
            check::books_without_clears(&self.pool, &runs).await?;
        }
        check::ticks(&self.pool).await?;
        check::no_orphans(PATIENCE).await?;
        Ok((self, hit))
    }

    /// Between two layers nothing may run for a moment; false if nothing will run any more.
    async fn something_runs(&self, runs: &[RunId]) -> anyhow::Result<bool> {
        loop {
            match (check::running(&self.pool, runs).await? > 0, check::have_ended(&self.pool, runs).await?) {
                (true, _) => return Ok(true),
                (false, true) => return Ok(false),
                (false, false) => sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// Of the runs the first is told which of its tasks freezes its worker.
    async fn trigger(&self, freezes: Option<&str>) -> anyhow::Result<Vec<RunId>> {
        let mut conn = self.pool.acquire().await?;
        let mut runs = Vec::new();
        for number in 0..RUNS {
            let conf = freezes.filter(|_| number == 0).map(|task| json!({ FREEZE: task }));
            let run = ManualRun { conf, ..ManualRun::default() };
            runs.push(commands::trigger(&mut conn, &self.graphs, &DAG.into(), run, &By::test()).await?);
        }
        orchestrator::wake::Wake::announce_once(&self.pool).await;
        Ok(runs)
    }

    async fn inflict(mut self, fault: Fault, runs: &[RunId], random: &mut StdRng) -> anyhow::Result<Self> {
        match fault {
            Fault::KillWorker => {
                let victim = random.random_range(0..self.workers.len());
                self.workers.swap_remove(victim).kill().await;
                self.workers.push(self.spawn(Kind::Worker)?);
            }
            Fault::KillScheduler => {
                let victim = random.random_range(0..self.schedulers.len());
                self.schedulers.swap_remove(victim).kill().await;
                self.schedulers.push(self.spawn(Kind::Scheduler)?);
            }
            Fault::FreezeWorker => {
                let victim = &self.workers[random.random_range(0..self.workers.len())];
                let pid = Pid::from_raw(i32::try_from(victim.pid().context("the worker has ended")?)?);
                kill(pid, Signal::SIGSTOP)?;
                let held = check::held_by(&self.pool, pid.as_raw()).await?;
                self.thaw_when_another_runs(pid, &held).await?;
            }
            // Inflicted by a task.
            Fault::FreezeAtEnd => {}
            Fault::Clear => self.clear(runs, random).await?,
            Fault::StepClock => {
                for _ in 0..2 {
                    let hours = [-25, -1, 1, 25].choose(random).copied().unwrap_or(1);
                    self.clock.as_ref().context("no clock")?.set(hours * 3_600)?;
                    sleep(Duration::from_millis(random.random_range(500..1_500))).await;
                }
            }
            Fault::CutConnections => {
                for _ in 0..random.random_range(1..6) {
                    check::cut_connections(&self.url).await?;
                    sleep(Duration::from_millis(random.random_range(0..60))).await;
                }
            }
            Fault::CrashPostgres => {
                let Self { state, port, url, postgres, pool, graphs, clock, schedulers, workers } = self;
                postgres.kill().await;
                let postgres = Postgres::start(&state, port).await?;
                self = Self { state, port, url, postgres, pool, graphs, clock, schedulers, workers };
            }
        }
        Ok(self)
    }

    /// Waits for the worker that a task of the first run froze at its end, and lets it go on when another one has the task.
    async fn thaw(&self, task: &str, runs: &[RunId]) -> anyhow::Result<bool> {
        let pids = self.workers.iter().filter_map(Child::pid).filter_map(|pid| i32::try_from(pid).ok());
        let pids: Vec<_> = pids.collect();
        let frozen = async {
            loop {
                if let Some(pid) = pids.iter().find(|pid| is_stopped(**pid)) {
                    return *pid;
                }
                sleep(Duration::from_millis(2)).await;
            }
        };
        let pid = timeout(PATIENCE, frozen).await.with_context(|| format!("{task} froze nobody"))?;
        let instance = check::instance(&self.pool, &runs[0], task).await?;
        self.thaw_when_another_runs(Pid::from_raw(pid), &[instance]).await
    }

    /// It comes back while somebody else runs what it had, if it had something: its lease is over then. Says whether
    /// that was so.
    async fn thaw_when_another_runs(&self, pid: Pid, held: &[i64]) -> anyhow::Result<bool> {
        let taken = timeout(LEASE * 6, check::one_runs_elsewhere(&self.pool, held, pid.as_raw())).await;
        kill(pid, Signal::SIGCONT)?;
        Ok(matches!(taken, Ok(Ok(()))))
    }

    async fn clear(&self, runs: &[RunId], random: &mut StdRng) -> anyhow::Result<()> {
        let mut conn = self.pool.acquire().await?;
        for _ in 0..random.random_range(8..16) {
            let task = node::name(random.random_range(0..LAYERS), random.random_range(0..WIDTH));
            let tasks = TaskChoice { named: vec![task.as_str().into()], downstream: true, ..TaskChoice::default() };
            let run = runs.choose(random).context("no run")?.clone();
            let choice = Choice { dag_id: DAG.into(), runs: RunChoice::one(run), tasks };
            commands::clear(&mut conn, &self.graphs, &Clear::of(choice), &By::test()).await?;
            orchestrator::wake::Wake::announce_once(&self.pool).await;
            sleep(Duration::from_millis(random.random_range(0..60))).await;
        }
        Ok(())
    }

    fn spawn(&self, kind: Kind) -> anyhow::Result<Child> {
        let own = std::env::current_exe()?;
        let name = match kind {
            Kind::Scheduler => "scheduler",
            Kind::Worker => "worker",
        };
        let program = Program::new(name, Path::new(&own), &self.state.logs());
        let program = program.args(["node", "--kind", name, "--url", &self.url]);
        program.envs(self.clock.iter().flat_map(Clock::envs)).spawn(Signal::SIGTERM)
    }

    pub(super) async fn stop(self) {
        for child in self.workers.into_iter().chain(self.schedulers) {
            child.stop(Duration::from_secs(5)).await;
        }
        self.pool.close().await;
        self.postgres.stop().await;
    }
}

fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}
