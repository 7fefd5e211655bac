//! Runs from beginning to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use orchestrator::{
    commands::ManualRun,
    ids::{DagId, RunId},
    prelude::*,
    state::{RunState, TaskState},
    store::pages::runs,
    worker::Settings,
};
use serde_json::json;
use sqlx::PgPool;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use super::world::World;

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn results_travel_along_typed_handles(pool: PgPool) {
    // For the whole process: bodies run on any thread. Another test may have been faster.
    tracing_subscriber::registry().with(orchestrator::task_log::Capture).try_init().ok();
    let dag = Dag::new("sum");
    let left = dag.task("left", async |_: Context| TaskResult::Ok(20_u32));
    let right = dag.task("right", async |context: Context| TaskResult::Ok(context.conf()["right"].as_u64().unwrap()));
    let sum = dag.task(
        "sum",
        (async |_: Context, left: u32, right: u64| TaskResult::Ok(u64::from(left) + right)).with((left, right)),
    );
    let tell = async |_: Context, sum: u64| {
        tracing::info!("the sum is {sum}");
        TaskResult::Ok(())
    };
    dag.task("tell", tell.with(sum));

    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    world.unpause("sum").await;
    let conf = Some(json!({ "right": 22 }));
    let run = world.trigger("sum", ManualRun { conf, ..ManualRun::default() }).await;
    assert_eq!(world.finished("sum", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.log("sum", &run, "tell").await, ["the sum is 42"]);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_failed_task_fails_what_comes_after_it_and_nothing_else(pool: PgPool) {
    let dag = Dag::new("d");
    let start = dag.task("start", nothing);
    let bad = dag.task("bad", async |_: Context| -> TaskResult<()> { anyhow::bail!("no luck") });
    let [good, after_bad, end] = ["good", "after_bad", "end"].map(|task| dag.task(task, nothing));
    dag.chain(start >> (bad, good) >> end);
    dag.chain(bad >> after_bad);

    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    for (task, state) in [
        ("start", TaskState::Success),
        ("bad", TaskState::Failed),
        ("good", TaskState::Success),
        ("after_bad", TaskState::UpstreamFailed),
        ("end", TaskState::UpstreamFailed),
    ] {
        assert_eq!(world.state("d", &run, task).await, state, "{task}");
    }
    assert_eq!(world.tries("d", &run, "bad").await, [(TaskState::Failed, Some("no luck".to_owned()))]);
    assert_eq!(world.log("d", &run, "bad").await, ["try 1 failed: no luck"]);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_is_tried_again_until_it_succeeds_or_must_not_be(pool: PgPool) {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let dag = Dag::new("d").retries(2).retry_delay(Duration::ZERO);
    dag.task("third_time", move |_: Context| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        async move { if number < 2 { anyhow::bail!("not yet") } else { Ok(()) } }
    });
    dag.task("hopeless", async |_: Context| -> TaskResult<()> {
        Err(FailWithoutRetry("wrong password".into()).into())
    });
    dag.task("panics", async |_: Context| -> TaskResult<()> { panic!("at the \0 disco") });

    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    let states = |tries: Vec<(TaskState, _)>| tries.into_iter().map(|(state, _)| state).collect::<Vec<_>>();
    let third_time = states(world.tries("d", &run, "third_time").await);
    assert_eq!(third_time, [TaskState::UpForRetry, TaskState::UpForRetry, TaskState::Success]);
    assert_eq!(states(world.tries("d", &run, "hopeless").await), [TaskState::Failed]);
    let panics = world.tries("d", &run, "panics").await;
    assert_eq!(panics.len(), 3);
    assert_eq!(panics[2].1.as_deref(), Some("the task panicked: at the \u{fffd} disco"));
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_panic_where_no_body_runs_is_a_failed_try_too(pool: PgPool) {
    struct Fragile;
    impl Drop for Fragile {
        fn drop(&mut self) {
            panic!("it broke");
        }
    }
    let dag = Dag::new("d");
    dag.task("at_once", |_: Context| -> std::future::Ready<TaskResult<()>> { panic!("no body yet") });
    dag.task("stopped", async |_: Context| {
        let _fragile = Fragile;
        std::future::pending::<TaskResult<()>>().await
    })
    .execution_timeout(Duration::from_millis(20));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    let failed = |cause: &str| [(TaskState::Failed, Some(cause.to_owned()))];
    assert_eq!(world.tries("d", &run, "at_once").await, failed("the task panicked: no body yet"));
    assert_eq!(world.tries("d", &run, "stopped").await, failed("the task panicked: it broke"));
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_skip_runs_downstream_and_the_run_succeeds(pool: PgPool) {
    let dag = Dag::new("d");
    let skips = dag.task("skips", async |_: Context| -> TaskResult<()> { Err(Skip("nothing new".into()).into()) });
    dag.chain(skips >> dag.task("after", nothing));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.state("d", &run, "after").await, TaskState::Skipped);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_try_that_takes_too_long_is_stopped(pool: PgPool) {
    let dag = Dag::new("d").execution_timeout(Duration::from_millis(50));
    dag.task("sleeps", async |_: Context| {
        std::future::pending::<()>().await;
        TaskResult::Ok(())
    });
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let tries = world.tries("d", &run, "sleeps").await;
    assert_eq!(tries[0].1.as_deref(), Some("the try took longer than its execution timeout of 50ms"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_wide_run_ends_with_every_count_right(pool: PgPool) {
    let dag = Dag::new("wide");
    let first = dag.task("first", nothing);
    let middle: Vec<_> = (0..200).map(|task| dag.task(&format!("middle_{task}"), nothing)).collect();
    dag.chain(first >> middle >> dag.task("last", nothing));
    let world = World::new(pool, vec![dag]).await;
    // Two workers settle siblings of one run at the same time.
    let workers = [world.worker(Settings { slots: 8, ..Settings::default() }), world.worker(Settings::default())];
    let run = world.start("wide").await;
    assert_eq!(world.finished("wide", &run).await, RunState::Success);
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(world.tries("wide", &run, "last").await.len(), 1);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_result_that_cannot_be_stored_fails_its_task_and_no_other(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("zero", async |_: Context| TaskResult::Ok("a\0b".to_owned()));
    dag.task("huge", async |_: Context| TaskResult::Ok("x".repeat(2 << 20)));
    let good: Vec<_> = (0..20).map(|task| dag.task(&format!("good_{task}"), nothing)).collect();
    dag.chain(good >> dag.task("after", nothing));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let cause = |tries: Vec<(TaskState, Option<String>)>| tries[0].1.clone().unwrap();
    assert!(cause(world.tries("d", &run, "zero").await).starts_with("the outcome cannot be stored"));
    assert!(cause(world.tries("d", &run, "huge").await).contains("STREAMCOMMERCE_BUCKET"));
    assert_eq!(world.state("d", &run, "after").await, TaskState::Success);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn around_a_run_are_the_latest_or_those_before_and_after_it(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("t", async |_: Context| Ok(()));
    let world = World::new(pool, vec![dag]).await;
    let mut made = Vec::new();
    for _ in 0..6 {
        made.push(world.start("d").await);
    }
    let around = async |run: &RunId| -> Vec<RunId> {
        let mut conn = world.pool.acquire().await.unwrap();
        let run = runs::get(&mut conn, &DagId::from("d"), run).await.unwrap().unwrap();
        let found = runs::around(&mut conn, &run.dag_id, run.run_key, run.run_after, 3).await.unwrap();
        found.into_iter().rev().map(|run| run.run_id).collect()
    };
    for _ in 0..2 {
        assert_eq!(around(&made[5]).await, made[3..=5]);
        assert_eq!(around(&made[3]).await, made[3..=5]);
        assert_eq!(around(&made[2]).await, made[1..=3]);
        assert_eq!(around(&made[0]).await, made[..=1]);
        // And the same, if all of them may run from one and the same instant.
        sqlx::query("update dag_run set run_after = now()").execute(&world.pool).await.unwrap();
    }
}
