//! Deferred tasks: a row until an instant or a signal comes, then the same try goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use orchestrator::{
    commands::{self, By, ManualRun},
    prelude::*,
    state::{RunState, TaskState},
    worker::Settings,
};
use serde_json::{Value, json};
use sqlx::{PgPool, Row};

use super::world::World;

async fn paid(context: Context) -> TaskResult<Poke<Value>> {
    Ok(match context.signal("paid").await? {
        Some(payment) => Poke::Done(payment),
        None => Poke::OnSignal("paid".to_owned()),
    })
}

async fn post(world: &World, payload: Value) -> u64 {
    let mut conn = world.pool.acquire().await.unwrap();
    commands::post_signal(&mut conn, "paid", &payload, &By::test()).await.unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_waits_for_a_signal_without_a_slot_and_finds_one_that_came_before(pool: PgPool) {
    let dag = Dag::new("d").max_active_tasks(1);
    dag.task("paid", paid);
    dag.task("beside", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings { slots: 1, ..Settings::default() });
    let run = world.start("d").await;
    world.reaches("d", &run, "paid", TaskState::Deferred).await;
    world.reaches("d", &run, "beside", TaskState::Success).await;
    world.assert_counts().await;
    assert_eq!(world.pass().await.requeued, 0);
    assert_eq!(post(&world, json!({ "amount": 5 })).await, 1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!(world.results("d", &run, "paid").await, [json!({ "amount": 5 })]);
    assert_eq!(world.tries("d", &run, "paid").await, [(TaskState::Success, None)], "one try");
    // It stays for whoever asks later.
    let later = world.trigger("d", ManualRun::default()).await;
    assert_eq!(world.finished("d", &later).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_signal_that_is_posted_while_a_task_begins_to_wait_is_not_lost(pool: PgPool) {
    let asked = Arc::new(tokio::sync::Semaphore::new(0));
    let may_go_on = Arc::new(tokio::sync::Semaphore::new(0));
    let (told, held) = (Arc::clone(&asked), Arc::clone(&may_go_on));
    let dag = Dag::new("d");
    dag.task("paid", move |context: Context| {
        let (told, held) = (Arc::clone(&told), Arc::clone(&held));
        async move {
            let seen = paid(context).await?;
            if seen == Poke::OnSignal("paid".to_owned()) {
                told.add_permits(1);
                held.acquire().await?.forget();
            }
            Ok(seen)
        }
    });
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    // It has looked, and has not yet begun to wait.
    asked.acquire().await.unwrap().forget();
    assert_eq!(post(&world, json!(1)).await, 0);
    may_go_on.add_permits(1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_timer_is_a_row_and_what_waits_too_long_fails(pool: PgPool) {
    let looks = Arc::new(AtomicUsize::new(0));
    let looked = Arc::clone(&looks);
    let dag = Dag::new("d");
    let at = Utc::now() + TimeDelta::hours(2);
    let waiting = dag.task("timer", move |_: Context| {
        let first = looked.fetch_add(1, Ordering::SeqCst) == 0;
        async move { TaskResult::Ok(if first { Poke::Until(at) } else { Poke::Done(()) }) }
    });
    waiting.timeout(Duration::from_secs(86_400));
    dag.task("never", paid).timeout(Duration::from_secs(3_600)).retries(3);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.reaches("d", &run, "timer", TaskState::Deferred).await;
    world.reaches("d", &run, "never", TaskState::Deferred).await;
    let due: DateTime<Utc> = sqlx::query("select due_at from task_instance where task_id = 'timer'")
        .fetch_one(&world.pool)
        .await
        .unwrap()
        .get(0);
    assert!((due - at).abs() < TimeDelta::seconds(30), "{due}");
    assert_eq!(world.pass().await.requeued, 0);
    // Its first look lies more than its timeout back.
    sqlx::query("update task_instance set first_poke_at = first_poke_at - interval '2 hours', due_at = now() where task_id = 'never'")
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query("update task_instance set due_at = now() where task_id = 'timer'").execute(&world.pool).await.unwrap();
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    assert_eq!(world.state("d", &run, "timer").await, TaskState::Success);
    let tries = world.tries("d", &run, "never").await;
    assert_eq!((tries.len(), tries[0].0), (1, TaskState::Failed), "not tried again");
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn ten_thousand_wait_in_rows_and_go_on_together(pool: PgPool) {
    let dag = Dag::new("d").max_map_length(10_000).max_active_tasks(10_000);
    let wait = async |context: Context, _: u32| paid(context).await;
    dag.task("paid", wait.expand((0..10_000).collect::<Vec<u32>>())).pool("wide");
    let world = World::new(pool, vec![dag]).await;
    let mut conn = world.pool.acquire().await.unwrap();
    let wide =
        orchestrator::store::pools::NewPool { name: "wide", slots: -1, description: None, include_deferred: false };
    commands::create_pool(&mut conn, &wide, &By::test()).await.unwrap();
    drop(conn);
    let worker = world.worker(Settings { slots: 256, ..Settings::default() });
    let run = world.start("d").await;
    world.count_reaches("d", TaskState::Deferred, 10_000).await;
    let used: i32 =
        sqlx::query("select used from slots where gate = 'pool:wide'").fetch_one(&world.pool).await.unwrap().get(0);
    assert_eq!(used, 0, "nobody holds a slot");
    assert_eq!(post(&world, json!(true)).await, 10_000);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn in_a_pool_that_includes_the_deferred_they_keep_their_slots(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("paid", paid).pool("narrow").pool_slots(2);
    dag.task("next", async |_: Context| TaskResult::Ok(())).pool("narrow").pool_slots(2).priority_weight(0);
    let world = World::new(pool, vec![dag]).await;
    let mut conn = world.pool.acquire().await.unwrap();
    let narrow =
        orchestrator::store::pools::NewPool { name: "narrow", slots: 3, description: None, include_deferred: true };
    commands::create_pool(&mut conn, &narrow, &By::test()).await.unwrap();
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.reaches("d", &run, "paid", TaskState::Deferred).await;
    world.pass().await;
    assert_eq!(world.state("d", &run, "next").await, TaskState::Scheduled, "there is one slot left, and it takes two");
    world.assert_counts().await;
    // What is marked gives its slots to who waits; what is cleared begins again.
    let clear = commands::Clear::of(commands::Choice {
        dag_id: "d".into(),
        runs: commands::RunChoice::one(run.clone()),
        tasks: commands::TaskChoice { named: vec!["paid".into()], ..Default::default() },
    });
    commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap();
    drop(conn);
    world.assert_counts().await;
    world.reaches("d", &run, "paid", TaskState::Deferred).await;
    assert_eq!(post(&world, json!(true)).await, 1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}
