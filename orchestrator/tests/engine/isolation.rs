//! Tasks in processes of their own. The processes are this test program, started anew: see [`as_body`] and [`as_worker`].

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orchestrator::{
    commands::{self, By, Choice, Clear, RunChoice, TaskChoice},
    dag::Registry,
    engine::Graphs,
    prelude::*,
    secrets::Keys,
    state::{RunState, TaskState},
    store,
    task_log::Capture,
    wake::Wake,
    worker::{
        Settings, Worker,
        isolated::{self, BodyProcess, Secret},
    },
};
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use super::world::World;

const URL: &str = "STREAMCOMMERCE_TEST_BODY_URL";
const FOLDER: &str = "STREAMCOMMERCE_TEST_BODY_FOLDER";

async fn seed(_: Context) -> TaskResult<u32> {
    Ok(std::process::id())
}

async fn other_process(_: Context, seed: u32) -> TaskResult<bool> {
    tracing::info!("said in a process of its own");
    Ok(seed != std::process::id())
}

async fn crash_once(context: Context) -> TaskResult<&'static str> {
    if context.try_number() == 1 {
        std::process::abort();
    }
    Ok("second try")
}

async fn block(_: Context) -> TaskResult<()> {
    let pids = std::env::var(FOLDER)?;
    let child = std::process::Command::new("sleep").arg("1000").spawn()?;
    std::fs::write(format!("{pids}/new"), format!("{} {}", std::process::id(), child.id()))?;
    std::fs::rename(format!("{pids}/new"), format!("{pids}/pids"))?;
    loop {
        std::thread::park();
    }
}

/// What it starts cleans up when it is told to stop.
async fn starts_something(_: Context) -> TaskResult<()> {
    let folder = std::env::var(FOLDER)?;
    let script =
        format!("trap 'echo told > {folder}/told; exit' TERM; echo > {folder}/begun; while :; do sleep 0.02; done");
    std::process::Command::new("sh").args(["-c", &script]).spawn()?;
    while !std::fs::exists(format!("{folder}/begun"))? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::future::pending().await
}

fn dags() -> Vec<Dag> {
    let dag = Dag::new("ends");
    let isolated = Isolation::Process;
    let seed = dag.task("seed", seed);
    dag.task("other_process", other_process.with(seed)).isolation(isolated);
    dag.task("crashes", crash_once).retries(1).retry_delay(Duration::ZERO).isolation(isolated);
    let skips = async |_: Context| -> TaskResult<()> { Err(Skip("nothing to do".to_owned()).into()) };
    dag.task("skips", skips).isolation(isolated);
    let gives_up = async |_: Context| -> TaskResult<()> { Err(FailWithoutRetry("no use".to_owned()).into()) };
    dag.task("gives_up", gives_up).retries(3).isolation(isolated);
    let leaks = async |context: Context| -> TaskResult<()> {
        let db = context.connection("db").await?;
        anyhow::bail!("cannot sign in with {}", db.password.unwrap_or_default())
    };
    dag.task("leaks", leaks).isolation(isolated);
    let panics = async |_: Context| -> TaskResult<()> { panic!("on purpose") };
    dag.task("panics", panics).isolation(isolated);
    let choose = dag.task("choose", async |_: Context| TaskResult::Ok(Branch::to(["chosen"]))).isolation(isolated);
    let nothing = async |_: Context| TaskResult::Ok(());
    dag.chain(choose >> [dag.task("chosen", nothing), dag.task("not_chosen", nothing)]);
    let timed = Dag::new("times_out");
    timed.task("blocks", block).isolation(isolated).execution_timeout(Duration::from_secs(3));
    let blocks = Dag::new("blocks");
    blocks.task("blocks", block).isolation(isolated);
    let told = Dag::new("told");
    told.task("starts", starts_something).isolation(isolated).execution_timeout(Duration::from_secs(3));
    vec![dag, timed, blocks, told]
}

/// The body of an isolated task, if this is the process of one.
#[test]
fn as_body() {
    let Ok(url) = std::env::var(URL) else { return };
    tracing_subscriber::registry().with(Capture).init();
    let registry = Arc::new(Registry::build(dags()).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime
        .block_on(async { isolated::run(registry, store::pool(&url, 2).unwrap(), Keys::default(), None).await })
        .unwrap();
}

/// A worker that is killed, if this is the process of one.
#[test]
fn as_worker() {
    let Ok(url) = std::env::var(URL) else { return };
    let registry = Arc::new(Registry::build(dags()).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pool = runtime.block_on(async { store::pool(&url, 8).unwrap() });
    let settings = Settings { body_process: Some(body_process(&url)), ..Settings::default() };
    let worker = Worker::new(pool, registry, Graphs::default(), Wake::default(), settings);
    runtime.block_on(worker.run(CancellationToken::new()));
}

fn arguments(test: &str) -> Vec<String> {
    [format!("isolation::{test}").as_str(), "--exact", "--quiet"].map(ToOwned::to_owned).into()
}

fn body_process(url: &str) -> BodyProcess {
    BodyProcess { args: arguments("as_body"), envs: vec![(URL.to_owned(), Secret(url.to_owned()))] }
}

fn url_of(pool: &PgPool) -> String {
    use sqlx::ConnectOptions;
    pool.connect_options().to_url_lossy().to_string()
}

/// A worker in this process whose bodies put their numbers into the folder.
fn settings(pool: &PgPool, folder: &tempfile::TempDir) -> Settings {
    let mut process = body_process(&url_of(pool));
    let db = r#"{"conn_type": "postgres", "password": "s3cr3t!"}"#;
    process.envs.push(("STREAMCOMMERCE_CONN_DB".to_owned(), Secret(db.to_owned())));
    process.envs.push((FOLDER.to_owned(), Secret(folder.path().display().to_string())));
    Settings { body_process: Some(process), drain: Duration::ZERO, ..Settings::default() }
}

/// The body and what it started.
async fn pids(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let found = async {
        loop {
            if let Ok(text) = std::fs::read_to_string(folder.path().join("pids")) {
                return text.split(' ').map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("the body did not begin")
}

/// A zombie has ended; who collects it is not ours to say.
fn is_alive(process: &Path) -> bool {
    let status = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

async fn all_gone(processes: &[PathBuf]) {
    let gone = async {
        while processes.iter().any(|process| is_alive(process)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("something outlives the worker");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_process_ends_as_a_body_in_the_worker_would(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(pool, dags()).await;
    let worker = world.worker(settings(&world.pool, &folder));
    let run = world.start("ends").await;
    assert_eq!(world.finished("ends", &run).await, RunState::Failed);
    worker.stop().await;
    assert_eq!(world.results("ends", &run, "other_process").await, [json!(true)]);
    assert_eq!(world.log("ends", &run, "other_process").await, ["said in a process of its own"]);
    assert_eq!(world.results("ends", &run, "crashes").await, [json!("second try")]);
    let tries = world.tries("ends", &run, "crashes").await;
    let crash = tries[0].1.clone().unwrap();
    assert!(crash.starts_with("the process of the task ended before the task did: signal: 6"), "{crash}");
    for (task, state, cause) in [
        ("skips", TaskState::Skipped, "nothing to do"),
        ("gives_up", TaskState::Failed, "no use"),
        ("panics", TaskState::Failed, "the task panicked: on purpose"),
        ("leaks", TaskState::Failed, "cannot sign in with ***"),
    ] {
        assert_eq!(world.tries("ends", &run, task).await, [(state, Some(cause.to_owned()))], "{task}");
    }
    assert_eq!(world.state("ends", &run, "not_chosen").await, TaskState::Skipped);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_timeout_and_a_clear_end_the_whole_process_group(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(pool, dags()).await;
    let worker = world.worker(settings(&world.pool, &folder));
    let run = world.start("times_out").await;
    assert_eq!(world.finished("times_out", &run).await, RunState::Failed);
    let processes = pids(&folder).await;
    assert_eq!(processes.len(), 2);
    all_gone(&processes).await;

    std::fs::remove_file(folder.path().join("pids")).unwrap();
    let run = world.start("blocks").await;
    let processes = pids(&folder).await;
    assert!(processes.iter().all(|process| is_alive(process)));
    std::fs::remove_file(folder.path().join("pids")).unwrap();
    let choice = Choice { dag_id: "blocks".into(), runs: RunChoice::one(run.clone()), tasks: TaskChoice::default() };
    let mut conn = world.pool.acquire().await.unwrap();
    commands::clear(&mut conn, &world.graphs, &Clear::of(choice), &By::test()).await.unwrap();
    drop(conn);
    let again = async {
        while world.state("blocks", &run, "blocks").await != TaskState::Running {
            world.pass().await;
        }
        pids(&folder).await
    };
    let again = tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
    assert!(!processes.iter().any(|process| is_alive(process)), "the first try ended before the second began");
    worker.stop().await;
    all_gone(&again).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_body_started_is_told_to_stop_before_it_is_killed(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(pool, dags()).await;
    let worker = world.worker(settings(&world.pool, &folder));
    let run = world.start("told").await;
    assert_eq!(world.finished("told", &run).await, RunState::Failed);
    worker.stop().await;
    assert_eq!(std::fs::read_to_string(folder.path().join("told")).unwrap(), "told\n");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_killed_worker_takes_its_process_groups_along(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(pool, dags()).await;
    let mut worker = tokio::process::Command::new("/proc/self/exe")
        .args(arguments("as_worker"))
        .env(URL, url_of(&world.pool))
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    world.start("blocks").await;
    let processes = pids(&folder).await;
    assert!(processes.iter().all(|process| is_alive(process)));
    kill(Pid::from_raw(worker.id().unwrap() as i32), Signal::SIGKILL).unwrap();
    worker.wait().await.unwrap();
    all_gone(&processes).await;
}
