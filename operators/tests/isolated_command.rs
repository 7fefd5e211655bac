//! A program of an isolated task, whose worker is killed. The processes are this test program, started anew: see [`as_body`] and
//! [`as_worker`].
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{process::Stdio, sync::Arc, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use operators::Command;
use orchestrator::{
    commands::{self, By, ManualRun},
    dag::Registry,
    engine::Graphs,
    prelude::*,
    scheduler::{Scheduler, register},
    secrets::Keys,
    store,
    wake::Wake,
    worker::{
        Settings, Worker,
        isolated::{self, BodyProcess, Secret},
    },
};
use sqlx::{ConnectOptions, PgPool};
use tokio_util::sync::CancellationToken;

const URL: &str = "STREAMCOMMERCE_TEST_BODY_URL";
const FOLDER: &str = "STREAMCOMMERCE_TEST_BODY_FOLDER";
const PATIENCE: Duration = Duration::from_secs(60);

fn registry() -> Arc<Registry> {
    let dag = Dag::new("d");
    // Neither the shell nor what it has started listens.
    let script = format!("trap '' TERM; sleep 1000 & cd ${FOLDER}; echo $$ $! >new; mv new pids; wait; wait");
    dag.task("shell", Command::new("sh").arg("-c").arg(script)).isolation(Isolation::Process);
    Arc::new(Registry::build(vec![dag]).unwrap())
}

fn arguments(test: &str) -> Vec<String> {
    [test, "--exact", "--quiet"].map(ToOwned::to_owned).into()
}

/// The body of the task, if this is its process.
#[tokio::test(flavor = "multi_thread")]
async fn as_body() {
    let Ok(url) = std::env::var(URL) else { return };
    isolated::run(registry(), store::pool(&url, 2).unwrap(), Keys::default(), None).await.unwrap();
}

/// The worker, if this is its process.
#[tokio::test(flavor = "multi_thread")]
async fn as_worker() {
    let Ok(url) = std::env::var(URL) else { return };
    let pool = store::pool(&url, 8).unwrap();
    let body = BodyProcess { args: arguments("as_body"), envs: vec![(URL.to_owned(), Secret(url))] };
    let settings = Settings { body_process: Some(body), ..Settings::default() };
    let worker = Worker::new(pool, registry(), Graphs::default(), Wake::default(), settings);
    worker.run(CancellationToken::new()).await;
}

/// Makes a run whose task is ready.
async fn ready(pool: &PgPool) {
    let (registry, graphs) = (registry(), Graphs::default());
    let mut conn = pool.acquire().await.unwrap();
    store::ensure_partitions(&mut conn).await.unwrap();
    register(&mut conn, &registry).await.unwrap();
    commands::set_paused(&mut conn, &graphs, &"d".into(), false, &By::test()).await.unwrap();
    commands::trigger(&mut conn, &graphs, &"d".into(), ManualRun::default(), &By::test()).await.unwrap();
    let now = store::now(&mut conn).await.unwrap();
    Scheduler::new(pool.clone(), registry, graphs, Wake::default()).run_once(&mut conn, now).await.unwrap();
}

/// Whether the process has not ended; who collects a zombie is not ours to say.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

async fn comes(what: &str, is_there: impl Fn() -> bool) {
    let there = async {
        while !is_there() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("{what}, not within {PATIENCE:?}"));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_program_has_started_does_not_outlive_a_killed_worker(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    ready(&pool).await;
    let mut worker = tokio::process::Command::new("/proc/self/exe")
        .args(arguments("as_worker"))
        .env(URL, pool.connect_options().to_url_lossy().to_string())
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let file = folder.path().join("pids");
    comes("the program begins", || file.exists()).await;
    let pids = std::fs::read_to_string(file).unwrap();
    let pids: Vec<_> = pids.split_whitespace().collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
    kill(Pid::from_raw(worker.id().unwrap() as i32), Signal::SIGKILL).unwrap();
    worker.wait().await.unwrap();
    comes("both are gone", || !pids.iter().any(|pid| is_alive(pid))).await;
}
