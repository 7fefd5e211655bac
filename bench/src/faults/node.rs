//! A scheduler or a worker in a process of its own, to be killed; and the DAGs that they run.

use std::{sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use nix::sys::signal::{Signal, raise};
use orchestrator::{
    dag::Registry,
    engine::Graphs,
    prelude::*,
    process::Lease,
    scheduler::Scheduler,
    store,
    wake::Wake,
    worker::{Settings, Worker},
};
use sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What it is.
    #[arg(long, value_enum)]
    kind: Kind,
    /// The database.
    #[arg(long)]
    url: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Kind {
    Scheduler,
    Worker,
}

pub(crate) const DAG: &str = "faults";

/// Short, so that a round takes seconds.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Layers of the DAG, and tasks of a layer; every task waits for all of the layer before.
pub(crate) const LAYERS: usize = 5;
pub(crate) const WIDTH: usize = 4;

/// The key of a run's conf that names the task which freezes its worker at its end.
pub(crate) const FREEZE: &str = "freeze";

/// The name of the other DAG, and of its pool.
pub(crate) const TICKS: &str = "ticks";

pub(crate) fn name(layer: usize, place: usize) -> String {
    format!("l{layer}_{place}")
}

/// `pool` is that of the process which runs them.
pub(crate) fn dags(pool: &PgPool) -> Vec<Dag> {
    vec![layers(pool), ticks()]
}

/// Every task takes a moment, the tasks of a layer end together, and some of them fail at their first try. After each layer
/// comes one that runs as soon as one of them has succeeded.
fn layers(pool: &PgPool) -> Dag {
    let dag = Dag::new(DAG)
        .is_paused_upon_creation(false)
        .max_active_tasks(6)
        .retries(50)
        .retry_delay(Duration::from_millis(50));
    let mut before: Vec<Task<'_, ()>> = Vec::new();
    for layer in 0..LAYERS {
        let tasks: Vec<_> = (0..WIDTH)
            .map(|place| {
                let fails_first = (layer + place) % 3 == 0;
                let pool = pool.clone();
                dag.task(&name(layer, place), move |context: Context| work(context, pool.clone(), fails_first))
            })
            .collect();
        let any = dag.task(&format!("any{layer}"), program());
        dag.cross(tasks.clone(), any.trigger_rule(TriggerRule::OneSuccess));
        if !before.is_empty() {
            dag.cross(before, tasks.clone());
        }
        before = tasks;
    }
    dag
}

/// What the programs have in their environment.
pub(super) const MARK: &str = "STREAMCOMMERCE_FAULTS_PROGRAM";

/// A program of a moment, which stays for ever if its worker has gone without it.
fn program() -> operators::Command {
    let script = "sleep 0.3; [ -d /proc/$PPID ] || exec sleep 100000";
    operators::Command::new("sh").arg("-c").arg(script).env(MARK, "1")
}

async fn work(context: Context, pool: PgPool, fails_first: bool) -> TaskResult<()> {
    tokio::time::sleep(Duration::from_millis(120)).await;
    anyhow::ensure!(!fails_first || context.try_number() > 1, "on purpose");
    // Still, with its whole process, after the work and before anybody is told of its end; the next try of it is not.
    if context.conf()[FREEZE] == context.task_id().as_str() && context.try_number() == 1 + u32::from(fails_first) {
        let busy = occupy(&pool).await;
        raise(Signal::SIGSTOP)?;
        tokio::spawn(async move {
            tokio::time::sleep(LEASE / 4).await;
            drop(busy);
        });
    }
    Ok(())
}

/// All connections that are to be had: a heartbeat that waits for one hears late that the lease is over, later than the
/// outcome is settled, for which the worker keeps a connection.
async fn occupy(pool: &PgPool) -> Vec<PoolConnection<Postgres>> {
    let mut busy = Vec::new();
    while let Ok(Ok(conn)) = timeout(LEASE / 20, pool.acquire()).await {
        busy.push(conn);
    }
    busy
}

/// A slot every second; each has its run, whatever happens.
fn ticks() -> Dag {
    let dag = Dag::new(TICKS)
        .is_paused_upon_creation(false)
        .schedule(Schedule::every(Duration::from_secs(1)))
        .catchup(true)
        .max_active_runs(64)
        .retries(50)
        .retry_delay(Duration::from_millis(50));
    dag.task("tick", async |_: Context| TaskResult::Ok(())).pool(TICKS);
    dag
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let pool = store::pool(&options.url, 8)?;
    let registry = Arc::new(Registry::build(dags(&pool))?);
    let (graphs, wake, stop) = (Graphs::default(), Wake::default(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn({
        let stop = stop.clone();
        async move {
            terminate.recv().await;
            stop.cancel();
        }
    });
    let (lease, bells) = (Lease::of(LEASE), wake.clone().carry(pool.clone(), Some(pool.clone()), stop.clone()));
    match options.kind {
        Kind::Scheduler => {
            let scheduler = Scheduler::new(pool, registry, graphs, wake).lease(lease);
            tokio::join!(scheduler.run(stop), bells);
        }
        Kind::Worker => {
            let settings = Settings { slots: 8, lease, ..Settings::default() };
            tokio::join!(Worker::new(pool, registry, graphs, wake, settings).run(stop), bells);
        }
    }
    Ok(())
}
