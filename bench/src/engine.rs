//! `bench engine`: a scheduler and a worker in this process against a real Postgres on disk.
//!
//! A hop begins when a body returns and ends at its successor's first instruction. The limit beside it is an
//! autocommit one-row UPDATE through the same client, options and pool, interleaved with the runs.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use orchestrator::{dag::Registry, ids::RunId, prelude::*, store};
use serde::Serialize;
use sqlx::{PgPool, Row};
use tokio_util::sync::CancellationToken;

use crate::{
    cpu, history,
    stopwatch::{Lap, Stopwatch, quantile_ms},
    under_test::{Engine, OwnPostgres},
};

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Options {
    /// The shape of the DAG.
    #[arg(long, value_enum, default_value = "chain")]
    pub(crate) shape: Shape,
    /// How many tasks it has (a fan-out: between the first and the last).
    #[arg(long, default_value_t = 40)]
    pub(crate) tasks: usize,
    /// Hops to measure; as many runs are made.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) hops: usize,
    /// Slots of the worker.
    #[arg(long, default_value_t = 64)]
    pub(crate) slots: u32,
    /// Slots of the pool.
    #[arg(long, default_value_t = 128)]
    pub(crate) pool: i32,
    /// Runs at once.
    #[arg(long, default_value_t = 1)]
    pub(crate) at_once: u32,
    /// Finished task instances of old runs that the database holds beforehand.
    #[arg(long, default_value_t = 0)]
    pub(crate) finished: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Shape {
    Chain,
    Fanout,
}

impl Options {
    /// So many that the hops are enough, and three at least.
    fn runs(&self) -> usize {
        let hops_per_run = match self.shape {
            Shape::Chain => self.tasks.saturating_sub(1),
            Shape::Fanout => self.tasks + 1,
        };
        self.hops.div_ceil(hops_per_run.max(1) * self.at_once.max(1) as usize).max(3)
    }
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    shape: String,
    tasks: usize,
    at_once: u32,
    pool: i32,
    finished: i64,
    rounds: usize,
    hops: usize,
    wall_s: f64,
    pub(crate) tasks_per_s: f64,
    pub(crate) hop_ms_p50: f64,
    hop_ms_p95: f64,
    pub(crate) hop_ms_p99: f64,
    hop_ms_max: f64,
    /// The slowest round.
    wall_max_s: f64,
    commit_ms_p50: f64,
    /// The hop's median over the commit's.
    pub(crate) ratio_p50: f64,
    /// Tasks per second over commits per second of one connection.
    pub(crate) throughput_ratio: f64,
    /// Processor seconds of this process and of Postgres for a task.
    pub(crate) cpu_s_per_task: f64,
    /// How long it took to make the runs of a round.
    pub(crate) create_ms_p50: f64,
    postgres: Durability,
}

/// What Postgres promises; the figures mean nothing without it.
#[derive(Debug, Serialize)]
struct Durability {
    version: String,
    fsync: String,
    synchronous_commit: String,
    full_page_writes: String,
    data_directory: String,
    filesystem: String,
}

const DAG: &str = "bench";

/// Commits measured after each run.
const COMMITS_PER_RUN: usize = 40;

/// Runs before the first that counts: connections, plans and caches are made.
const WARM_UP_RUNS: usize = 3;

pub(crate) async fn run(options: &Options) -> anyhow::Result<Figures> {
    let own = OwnPostgres::start().await?;
    let figures = measure(options, &own.url, own.postmaster).await;
    own.stop().await;
    figures
}

async fn measure(options: &Options, url: &str, postmaster: u32) -> anyhow::Result<Figures> {
    store::migrate(&store::pool(url, 1)?).await?;
    // After the migration, so that its sessions get the settings of the database.
    let pool = store::pool(url, 16)?;
    let durability = durability(&pool).await?;
    let watch = Arc::new(Stopwatch::default());
    let engine = Engine::start(&pool, Arc::new(Registry::build(vec![dag(options, &watch)])?)).await?;
    history::write(&pool, options.finished).await?;
    engine.set_pool(options.pool).await?;
    let stop = CancellationToken::new();
    let services = engine.serve(options.slots, &stop);

    let rounds = options.runs();
    let mut samples = Samples::default();
    for number in 0..WARM_UP_RUNS + rounds {
        let before = cpu::used(postmaster);
        let created = engine.round(DAG, options.at_once).await?;
        let used = cpu::used(postmaster).saturating_sub(before);
        let bodies = watch.take();
        let commits = commits_of(&pool).await?;
        if number >= WARM_UP_RUNS {
            samples.add(options, &bodies, created, used)?;
            samples.commits.extend(commits);
        }
    }
    stop.cancel();
    services.await?;
    Ok(samples.sorted().figures(options, durability))
}

/// What the rounds have shown.
#[derive(Default)]
struct Samples {
    hops: Vec<Duration>,
    commits: Vec<Duration>,
    walls: Vec<Duration>,
    creations: Vec<Duration>,
    ended: usize,
    cpu: Duration,
}

impl Samples {
    fn add(&mut self, options: &Options, bodies: &[Lap], created: Duration, used: Duration) -> anyhow::Result<()> {
        let first = bodies.iter().map(|lap| lap.began).min().context("no body ran")?;
        let last = bodies.iter().map(|lap| lap.ended).max().context("no body ran")?;
        self.walls.push(last - first);
        self.ended += bodies.len();
        self.creations.push(created);
        self.cpu += used;
        let mut by_run: HashMap<&RunId, Vec<&Lap>> = HashMap::new();
        bodies.iter().for_each(|lap| by_run.entry(&lap.run).or_default().push(lap));
        self.hops.extend(by_run.values().flat_map(|laps| hops_of(options.shape, options.tasks, laps)));
        Ok(())
    }

    fn sorted(mut self) -> Self {
        for samples in [&mut self.hops, &mut self.commits, &mut self.walls, &mut self.creations] {
            samples.sort_unstable();
        }
        self
    }

    fn figures(&self, options: &Options, durability: Durability) -> Figures {
        let commit_ms = quantile_ms(&self.commits, 0.5);
        let hop_ms = quantile_ms(&self.hops, 0.5);
        let busy: Duration = self.walls.iter().sum();
        let tasks_per_s = self.ended as f64 / busy.as_secs_f64();
        Figures {
            shape: format!("{:?}", options.shape).to_lowercase(),
            tasks: options.tasks,
            at_once: options.at_once,
            pool: options.pool,
            finished: options.finished,
            rounds: options.runs(),
            hops: self.hops.len(),
            wall_s: quantile_ms(&self.walls, 0.5) / 1_000.0,
            tasks_per_s,
            hop_ms_p50: hop_ms,
            hop_ms_p95: quantile_ms(&self.hops, 0.95),
            hop_ms_p99: quantile_ms(&self.hops, 0.99),
            hop_ms_max: quantile_ms(&self.hops, 1.0),
            wall_max_s: quantile_ms(&self.walls, 1.0) / 1_000.0,
            commit_ms_p50: commit_ms,
            ratio_p50: hop_ms / commit_ms,
            throughput_ratio: tasks_per_s * commit_ms / 1_000.0,
            cpu_s_per_task: self.cpu.as_secs_f64() / self.ended as f64,
            create_ms_p50: quantile_ms(&self.creations, 0.5),
            postgres: durability,
        }
    }
}

fn dag(options: &Options, watch: &Arc<Stopwatch>) -> Dag {
    let dag = Dag::new(DAG).max_active_runs(options.at_once).max_active_tasks(u32::MAX).is_paused_upon_creation(false);
    let body = |node: usize| {
        let watch = Arc::clone(watch);
        move |context: Context| {
            let (began, watch) = (Instant::now(), Arc::clone(&watch));
            async move {
                watch.ended(context.run_id(), node, began);
                Ok(())
            }
        }
    };
    match options.shape {
        Shape::Chain => {
            let tasks: Vec<_> = (0..options.tasks).map(|node| dag.task(&format!("t{node}"), body(node))).collect();
            for pair in tasks.windows(2) {
                dag.chain(pair[0] >> pair[1]);
            }
        }
        Shape::Fanout => {
            let first = dag.task("first", body(0));
            let middle: Vec<_> = (1..=options.tasks).map(|node| dag.task(&format!("t{node}"), body(node))).collect();
            let last = dag.task("last", body(options.tasks + 1));
            dag.chain(first >> middle >> last);
        }
    }
    dag
}

/// From the return of a body to the first instruction of the one that waited for it. In a fan-out the tasks of the
/// middle wait for the first one, most of them for a slot as well; the last one waits for the last of the middle.
fn hops_of(shape: Shape, tasks: usize, bodies: &[&Lap]) -> Vec<Duration> {
    match shape {
        Shape::Chain => bodies.windows(2).map(|pair| pair[1].began.saturating_duration_since(pair[0].ended)).collect(),
        Shape::Fanout => {
            let Some(first_ended) = bodies.first().map(|lap| lap.ended) else { return Vec::new() };
            let middle = bodies.iter().filter(|lap| (1..=tasks).contains(&lap.node));
            let mut hops: Vec<_> = middle.clone().map(|lap| lap.began.saturating_duration_since(first_ended)).collect();
            let joined = middle.map(|lap| lap.ended).max().zip(bodies.last().map(|lap| lap.began));
            hops.extend(joined.map(|(ended, began)| began.saturating_duration_since(ended)));
            hops
        }
    }
}

/// The limit: durable one-row commits through the same pool.
async fn commits_of(pool: &PgPool) -> anyhow::Result<Vec<Duration>> {
    let mut conn = pool.acquire().await?;
    let mut commits = Vec::with_capacity(COMMITS_PER_RUN);
    for _ in 0..COMMITS_PER_RUN {
        let began = Instant::now();
        sqlx::query("update bench_row set n = n + 1 where id = 1").execute(&mut *conn).await?;
        commits.push(began.elapsed());
    }
    Ok(commits)
}

/// Reads what Postgres promises, and refuses to measure a database that promises less than it would in production.
async fn durability(pool: &PgPool) -> anyhow::Result<Durability> {
    sqlx::query("create table bench_row (id int primary key, n bigint not null) with (fillfactor = 50)")
        .execute(pool)
        .await?;
    sqlx::query("insert into bench_row values (1, 0)").execute(pool).await?;
    let row = sqlx::query(
        "select version(), current_setting('fsync'), current_setting('synchronous_commit'),
                current_setting('full_page_writes'), current_setting('data_directory')",
    )
    .fetch_one(pool)
    .await?;
    let data_directory: String = row.get(4);
    let durability = Durability {
        version: row.get(0),
        fsync: row.get(1),
        synchronous_commit: row.get(2),
        full_page_writes: row.get(3),
        filesystem: filesystem_of(&data_directory).await?,
        data_directory,
    };
    for (setting, value) in [
        ("fsync", &durability.fsync),
        ("synchronous_commit", &durability.synchronous_commit),
        ("full_page_writes", &durability.full_page_writes),
    ] {
        ensure!(value == "on", "{setting} is {value}: a figure without durability means nothing");
    }
    ensure!(durability.filesystem != "tmpfs", "the data lies in memory ({})", durability.data_directory);
    Ok(durability)
}

async fn filesystem_of(folder: &str) -> anyhow::Result<String> {
    let asked = tokio::process::Command::new("stat").args(["-f", "-c", "%T", folder]).output().await?;
    Ok(String::from_utf8(asked.stdout)?.trim().to_owned())
}
