//! Sensors: between two looks a row with a due time, no slot; the same try until it has seen what it waits for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use orchestrator::{
    engine::Gate,
    prelude::*,
    state::{RunState, TaskState},
    store,
    worker::Settings,
};
use sqlx::PgPool;

use super::world::World;

/// A sensor that sees something at its n-th look.
fn sees_at<'d>(dag: &'d Dag, task: &str, look: usize, looks: &Arc<AtomicUsize>) -> Task<'d, usize> {
    let looks = Arc::clone(looks);
    dag.task(task, move |_: Context| {
        let now = looks.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(if now >= look { Poke::Done(now) } else { Poke::NotYet }) }
    })
}

#[sqlx::test(migrations = "../migrations")]
async fn a_sensor_looks_until_it_sees_in_one_try_and_without_a_slot(pool: PgPool) {
    let looks = Arc::new(AtomicUsize::new(0));
    let dag = Dag::new("d");
    let seen = sees_at(&dag, "sensor", 3, &looks).poke_interval(Duration::from_secs(3_600));
    let tell = async |_: Context, at: usize| TaskResult::Ok(at * 2);
    dag.task("then", tell.with(seen));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings { slots: 1, ..Settings::default() });
    let run = world.start("d").await;
    world.reaches("d", &run, "sensor", TaskState::UpForReschedule).await;
    // It holds nothing while it waits, and waits for as long as it said.
    world.assert_counts().await;
    assert_eq!(world.pass().await.requeued, 0);
    for look in 2..=3 {
        worker_beats(&world).await;
        assert_eq!(world.pass_at(world.now().await + TimeDelta::minutes(61)).await.requeued, 1, "look {look}");
        let next = if look == 3 { TaskState::Success } else { TaskState::UpForReschedule };
        while looks.load(Ordering::SeqCst) < look {
            tokio::task::yield_now().await;
        }
        world.reaches("d", &run, "sensor", next).await;
    }
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(looks.load(Ordering::SeqCst), 3);
    assert_eq!(world.tries("d", &run, "sensor").await, [(TaskState::Success, None)], "one try");
    world.assert_counts().await;
}

/// The passes of these tests look an hour ahead; nobody must be taken for lost because of that.
async fn worker_beats(world: &World) {
    sqlx::query("update process set heartbeat_at = now() + interval '1 day'").execute(&world.pool).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_sensor_whose_time_is_over_fails_without_another_try_or_is_skipped(pool: PgPool) {
    let looks = Arc::new(AtomicUsize::new(0));
    let dag = Dag::new("d").retries(3).retry_delay(Duration::ZERO);
    let never = |task: &str| {
        sees_at(&dag, task, usize::MAX, &looks)
            .poke_interval(Duration::from_millis(5))
            .timeout(Duration::from_millis(40))
    };
    never("hard");
    never("soft").soft_fail();
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    assert_eq!(world.state("d", &run, "hard").await, TaskState::Failed);
    assert_eq!(world.state("d", &run, "soft").await, TaskState::Skipped);
    assert!(looks.load(Ordering::SeqCst) >= 4, "both looked more than once");
    let tries = world.tries("d", &run, "hard").await;
    assert_eq!(tries.len(), 1, "{tries:?}");
    assert!(tries[0].1.as_deref().unwrap().contains("longer than its timeout of 40ms"), "{tries:?}");
    world.assert_counts().await;
}

/// More sensors wait than there are slots anywhere; each of them looks, and all see.
#[sqlx::test(migrations = "../migrations")]
async fn many_sensors_share_one_slot(pool: PgPool) {
    let dag = Dag::new("d").max_active_tasks(2);
    let looks: Vec<_> = (0..60).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    for (task, looks) in looks.iter().enumerate() {
        sees_at(&dag, &format!("t{task}"), 3, looks).poke_interval(Duration::from_millis(20)).pool("one");
    }
    let world = World::new(pool, vec![dag]).await;
    let mut conn = world.pool.acquire().await.unwrap();
    store::slots::set_total(&mut conn, &Gate::pool("one"), 1).await.unwrap();
    drop(conn);
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert!(looks.iter().all(|looks| looks.load(Ordering::SeqCst) == 3));
    world.assert_counts().await;
}
