//! `bench idle`: what `standalone` costs while nothing happens: how fast it starts, and what it takes of a core and of memory
//! with many DAGs and many tasks that wait.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use local::{
    ports::Ports,
    postgres::Postgres,
    state::{State, postgres_data_of_root},
};
use orchestrator::{
    commands::{self, By, ManualRun},
    engine::Graphs,
    prelude::*,
    store::{self, pools::NewPool},
    wake::Wake,
};
use serde::Serialize;
use sqlx::{PgPool, Row};
use tokio::time::sleep;

use crate::{
    cpu,
    standalone::{Dags, PATIENCE, Standalone, resident_mb},
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many DAGs there are.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) dags: usize,
    /// How many task instances wait for a signal that never comes.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) waiting: u32,
    /// For how many seconds it is watched.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    dags: usize,
    waiting: u32,
    /// From the start of the process until it says that it is healthy and all DAGs are in the database, for the first time.
    first_start_s: f64,
    /// The same when it has seen them all before.
    pub(crate) start_s: f64,
    /// Of one core, while nothing happens.
    pub(crate) cpu_percent: f64,
    /// Of one core, in all processes of Postgres.
    postgres_cpu_percent: f64,
    /// Resident, at the end.
    pub(crate) resident_mb: f64,
}

const WAITS: &str = "waits";

/// After which what was begun at the start has ended.
const CALM: Duration = Duration::from_secs(10);

/// All but one have nothing to do for hours: the one has tasks that wait.
pub(crate) fn dags(dags: usize, waiting: u32) -> Vec<Dag> {
    let waits = Dag::new(WAITS).max_map_length(waiting as usize).max_active_tasks(waiting);
    let wait = async |_: Context, _: u32| TaskResult::<Poke<()>>::Ok(Poke::OnSignal("never".to_owned()));
    waits.task("wait", wait.expand((0..waiting).collect::<Vec<_>>())).pool(WAITS);
    let idle = (1..dags).map(|number| {
        let dag =
            Dag::new(&format!("idle_{number}")).schedule(Schedule::cron("@yearly")).is_paused_upon_creation(false);
        let [first, last] = ["first", "last"].map(|task| dag.task(task, async |_: Context| TaskResult::Ok(())));
        dag.chain(first >> last);
        dag
    });
    [waits].into_iter().chain(idle).collect()
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Figures> {
    let folder = std::env::current_dir()?.join("target").join(format!("idle-{}", std::process::id()));
    let state = State::take(&folder)?;
    let ports = Ports::free()?;
    let mut postgres = Postgres::start(&state, ports.postgres).await?;
    let url = postgres.database("idle").await?;
    let postmaster = postgres.child().pid().context("Postgres has ended")?;
    let pool = &store::pool(&url, 2)?;
    let dags = Dags::Idle { dags: options.dags, waiting: options.waiting };
    let standalone = Standalone { state: &state, pool, url: &url, port: ports.web, dags };
    let figures = measure(&standalone, postmaster, options).await;
    postgres.stop().await;
    let of_root = postgres_data_of_root(state.root());
    for folder in [folder, of_root] {
        std::fs::remove_dir_all(folder).ok();
    }
    figures
}

async fn measure(standalone: &Standalone<'_>, postmaster: u32, options: &Options) -> anyhow::Result<Figures> {
    let pool = standalone.pool;
    store::migrate(pool).await?;
    let waits = NewPool { name: WAITS, slots: -1, description: None, include_deferred: false };
    commands::create_pool(&mut *pool.acquire().await?, &waits, &By::test()).await?;
    let (process, first_start_s) = standalone.start().await?;
    begin_to_wait(pool, options.waiting.into()).await?;
    process.stop(PATIENCE).await;

    let (process, start_s) = standalone.start().await?;
    sleep(CALM).await;
    let pid = process.pid().context("it has ended")?;
    let used = || (cpu::of(pid), cpu::of_children(postmaster));
    let (began, before) = (Instant::now(), used());
    sleep(Duration::from_secs(options.seconds)).await;
    let (wall, after) = (began.elapsed().as_secs_f64(), used());
    let percent = |before: Duration, after: Duration| (after - before).as_secs_f64() / wall * 100.0;
    let resident_mb = resident_mb(&process)?;
    process.stop(PATIENCE).await;
    Ok(Figures {
        dags: options.dags,
        waiting: options.waiting,
        first_start_s,
        start_s,
        cpu_percent: percent(before.0, after.0),
        postgres_cpu_percent: percent(before.1, after.1),
        resident_mb,
    })
}

async fn begin_to_wait(pool: &PgPool, waiting: i64) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let graphs = Graphs::default();
    commands::set_paused(&mut conn, &graphs, &WAITS.into(), false, &By::test()).await?;
    commands::trigger(&mut conn, &graphs, &WAITS.into(), ManualRun::default(), &By::test()).await?;
    Wake::announce_once(pool).await;
    let began = Instant::now();
    let count = "select count(*) from task_instance where state = 'deferred'";
    while sqlx::query(count).fetch_one(&mut *conn).await?.get::<i64, _>(0) < waiting {
        ensure!(began.elapsed() < PATIENCE, "they do not wait");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
