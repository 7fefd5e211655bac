//! Callbacks: told at least once, from the database, whatever became of the process in which it happened.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use orchestrator::{
    commands::{self, By, Choice, Clear, ManualRun, RunChoice, TaskChoice},
    dag::Registry,
    notify::Event,
    prelude::*,
    scheduler::{deliver_one, register},
    state::{RunState, TaskState},
    worker::Settings,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{
    gate::Gate,
    world::{PATIENCE, World},
};

/// What was told.
type Told = Arc<Mutex<Vec<String>>>;

fn hear(told: &Told) -> impl Notifier + use<> {
    let told = Arc::clone(told);
    move |notice: Notice| {
        told.lock().unwrap().push(notice.to_string());
        async { Ok(()) }
    }
}

async fn deliver_all(world: &World) {
    while deliver_one(&world.pool, &world.registry, &["d".to_owned()]).await.unwrap() {}
}

fn sorted(told: &Told) -> Vec<String> {
    let mut told = told.lock().unwrap().clone();
    told.sort();
    told
}

#[sqlx::test(migrations = "../migrations")]
async fn what_happens_to_tasks_and_runs_is_told(pool: PgPool) {
    let told = Told::default();
    let dag = Dag::new("d").retry_delay(Duration::ZERO).on_failure(hear(&told)).on_success(hear(&told));
    let broken = async |_: Context| -> TaskResult<()> { anyhow::bail!("broken") };
    let nothing = async |_: Context| TaskResult::Ok(());
    let skip = async |_: Context| -> TaskResult<()> { Err(Skip("nothing to do".into()).into()) };
    dag.task("broken", broken).retries(1).on_retry(hear(&told)).on_failure(hear(&told)).on_success(hear(&told));
    dag.task("good", nothing).on_success(hear(&told)).on_failure(hear(&told));
    dag.task("idle", skip).on_skipped(hear(&told)).on_success(hear(&told));
    dag.task("silent", nothing);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    world.unpause("d").await;
    let run = world.trigger("d", ManualRun { run_id: Some("r".into()), ..ManualRun::default() }).await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    assert!(told.lock().unwrap().is_empty(), "nobody is told within a transaction");
    deliver_all(&world).await;
    assert_eq!(
        sorted(&told),
        [
            "d failed: r",
            "d.broken failed in r and is tried again: broken",
            "d.broken failed in r: broken",
            "d.good succeeded in r",
            "d.idle was skipped in r: nothing to do",
        ]
    );
}

/// A clear is no failure.
#[sqlx::test(migrations = "../migrations")]
async fn what_is_cleared_while_it_runs_is_told_when_it_has_ended(pool: PgPool) {
    let (told, gate) = (Told::default(), Gate::closed());
    let dag = Dag::new("d");
    let slow = gate.task(&dag, "slow").retries(1).retry_delay(Duration::ZERO);
    slow.on_retry(hear(&told)).on_failure(hear(&told)).on_success(hear(&told));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    let choice = Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks: TaskChoice::default() };
    let mut conn = world.pool.acquire().await.unwrap();
    commands::clear(&mut conn, &world.graphs, &Clear::of(choice), &By::test()).await.unwrap();
    world.reaches("d", &run, "slow", TaskState::UpForRetry).await;
    gate.opens_for(1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    deliver_all(&world).await;
    assert_eq!(gate.times(), 2);
    let [ended] = &sorted(&told)[..] else { panic!("{told:?}") };
    assert!(ended.contains("succe"), "{ended}");
}

#[sqlx::test(migrations = "../migrations")]
async fn who_cannot_be_told_is_told_later_and_not_by_two_at_once(pool: PgPool) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let notifier = move |notice: Notice| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        assert_eq!(notice.event, Event::RunSuccess);
        async move {
            match call {
                0 => Err(anyhow::anyhow!("no answer")),
                1 => panic!("a callback of somebody else's"),
                _ => Ok(()),
            }
        }
    };
    let dag = Dag::new("d").on_success(notifier);
    dag.task("only", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    let dags = ["d".to_owned()];
    let both = tokio::join!(
        deliver_one(&world.pool, &world.registry, &dags),
        deliver_one(&world.pool, &world.registry, &dags)
    );
    assert_eq!([both.0.unwrap(), both.1.unwrap()].into_iter().filter(|told| *told).count(), 1);
    assert!(!deliver_one(&world.pool, &world.registry, &dags).await.unwrap(), "not at once");
    for _ in 0..2 {
        sqlx::query("update notification set due_at = now()").execute(&world.pool).await.unwrap();
        assert!(deliver_one(&world.pool, &world.registry, &dags).await.unwrap());
    }
    sqlx::query("update notification set due_at = now()").execute(&world.pool).await.unwrap();
    assert!(!deliver_one(&world.pool, &world.registry, &dags).await.unwrap(), "it was told");
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn who_cannot_be_told_keeps_nobody_else_from_being_told_once(pool: PgPool) {
    let told = Told::default();
    let broken = async |_: Notice| Err(anyhow::anyhow!("no answer"));
    let dag = Dag::new("d").on_success(broken).on_success(hear(&told));
    dag.task("only", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    for _ in 0..3 {
        sqlx::query("update notification set due_at = now()").execute(&world.pool).await.unwrap();
        deliver_all(&world).await;
        assert_eq!(told.lock().unwrap().len(), 1);
    }
    sqlx::query("update notification set due_at = now(), attempts = 33").execute(&world.pool).await.unwrap();
    deliver_all(&world).await;
    let failed: i64 = sqlx::query_scalar("select count(*) from event where event = 'notification_failed'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!((failed, told.lock().unwrap().len()), (1, 1), "it is written down who was not told in a day");
}

#[sqlx::test(migrations = "../migrations")]
async fn who_does_not_answer_keeps_no_other_dag_waiting(pool: PgPool) {
    let told = Told::default();
    let silent = Dag::new("silent");
    let nothing = async |_: Context, _: u32| TaskResult::Ok(());
    silent.task("many", nothing.expand(vec![0_u32; 100])).on_success(async |_: Notice| std::future::pending().await);
    let answers = Dag::new("answers").on_success(hear(&told));
    answers.task("only", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool, vec![silent, answers]).await;
    let worker = world.worker(Settings::default());
    for dag in ["silent", "answers"] {
        let run = world.start(dag).await;
        assert_eq!(world.finished(dag, &run).await, RunState::Success);
    }
    worker.stop().await;
    let scheduler = tokio::spawn(world.scheduler.clone().run(CancellationToken::new()));
    let heard = async {
        while told.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Those without an answer take half a minute each: sixteen at a time they would take more than three minutes.
    tokio::time::timeout(PATIENCE, heard).await.expect("it waits behind those who do not answer");
    scheduler.abort();
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_newer_binary_tells_an_older_one_leaves_to_it(pool: PgPool) {
    let told = Told::default();
    let nothing = async |_: Context| TaskResult::Ok(());
    let (older, newer) = (Dag::new("d"), Dag::new("d").on_success(hear(&told)));
    for dag in [&older, &newer] {
        dag.task("only", nothing);
    }
    let older = Registry::build(vec![older]).unwrap();
    let world = World::new(pool, vec![newer]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert!(deliver_one(&world.pool, &older, &["d".to_owned()]).await.unwrap());
    sqlx::query("update notification set due_at = now()").execute(&world.pool).await.unwrap();
    deliver_all(&world).await;
    assert_eq!(told.lock().unwrap().len(), 1);

    // The newer one is taken back: nobody wants to be told any more.
    let run = world.trigger("d", ManualRun::default()).await;
    let worker = world.worker(Settings::default());
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    register(&mut world.pool.acquire().await.unwrap(), &older).await.unwrap();
    assert!(deliver_one(&world.pool, &older, &["d".to_owned()]).await.unwrap());
    let left: i64 = sqlx::query_scalar("select count(*) from notification").fetch_one(&world.pool).await.unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_deadline_is_told_once_even_if_the_run_never_ends(pool: PgPool) {
    let told = Told::default();
    let dag = Dag::new("d")
        .deadline(Deadline::AfterQueued(Duration::from_secs(600)), hear(&told))
        .deadline(Deadline::AfterLogicalDate(Duration::from_secs(3_600)), hear(&told));
    dag.task("never", async |_: Context| TaskResult::Ok(())).queue("nobody");
    dag.task("soon", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool, vec![dag]).await;
    world.unpause("d").await;
    let date = Utc::now();
    let dated = ManualRun { run_id: Some("dated".into()), logical_date: Some(date), ..ManualRun::default() };
    world.trigger("d", dated).await;
    world.trigger("d", ManualRun { run_id: Some("undated".into()), ..ManualRun::default() }).await;
    assert_eq!(world.pass().await.late, 0);
    assert_eq!(world.pass_at(world.now().await + TimeDelta::minutes(11)).await.late, 2);
    assert_eq!(world.pass_at(world.now().await + TimeDelta::hours(2)).await.late, 1);
    assert_eq!(world.pass_at(world.now().await + TimeDelta::hours(3)).await.late, 0);
    deliver_all(&world).await;
    let missed = |run: &str| format!("d missed its deadline: {run}");
    assert_eq!(sorted(&told), [missed("dated"), missed("dated"), missed("undated")]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_that_ends_in_time_misses_nothing(pool: PgPool) {
    let told = Told::default();
    let dag = Dag::new("d").deadline(Deadline::AfterQueued(Duration::from_secs(600)), hear(&told));
    dag.task("only", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    // Cleared, it has as much time as it had at first: it was queued nine minutes ago, and again now.
    sqlx::query("update deadline set due_at = due_at - interval '9 minutes'").execute(&world.pool).await.unwrap();
    let tasks = TaskChoice::default();
    let clear = Clear::of(Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks });
    let mut conn = world.pool.acquire().await.unwrap();
    commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap();
    drop(conn);
    assert_eq!(world.pass_at(world.now().await + TimeDelta::minutes(5)).await.late, 0);
    let worker = world.worker(Settings::default());
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.pass_at(world.now().await + TimeDelta::hours(1)).await.late, 0);
    let left: i64 = sqlx::query_scalar("select count(*) from deadline").fetch_one(&world.pool).await.unwrap();
    assert_eq!(left, 0);
}
