//! Workers that die, stall, come back, or are told to stop.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use orchestrator::{
    engine::{Abilities, Claimant, settle},
    ids::ProcessId,
    prelude::*,
    process,
    state::{RunState, TaskState},
    store::instances,
    worker::Settings,
};
use sqlx::PgPool;
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use super::{
    by_hand::{claim, idle_worker, success},
    gate::Gate,
    world::World,
};

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn the_task_of_a_dead_worker_is_tried_again_with_the_cause_in_its_log(pool: PgPool) {
    let dag = Dag::new("d");
    let gate = Gate::closed();
    let _ = gate.task(&dag, "slow").retries(1).retry_delay(Duration::ZERO);
    let world = World::new(pool, vec![dag]).await;
    let dead = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    dead.vanish();

    assert_eq!(world.pass().await.rescued, 0, "its lease is not over yet");
    let later =
        world.now().await + TimeDelta::from_std(process::Lease::default().length()).unwrap() + TimeDelta::seconds(5);
    assert_eq!(world.pass_at(later).await.rescued, 1);
    let worker = world.worker(Settings::default());
    gate.opens_for(8);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(gate.times(), 2);
    let tries = world.tries("d", &run, "slow").await;
    assert_eq!(tries[0].0, TaskState::UpForRetry);
    assert!(tries[0].1.as_ref().unwrap().contains("is gone: its heartbeat stopped"), "{tries:?}");
    assert!(world.log("d", &run, "slow").await[0].contains("is gone: its heartbeat stopped"));
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_is_rescued_while_the_other_duties_fail(pool: PgPool) {
    let dag = Dag::new("d");
    let gate = Gate::closed();
    let _ = gate.task(&dag, "slow").retries(1).retry_delay(Duration::ZERO);
    let world = World::new(pool, vec![dag]).await;
    let lease = process::Lease::of(Duration::from_secs(1));
    let dead = world.worker(Settings { lease, ..Settings::default() });
    let run = world.start("d").await;
    gate.begun().await;
    dead.vanish();
    // As with a schema of tomorrow: every pass fails.
    sqlx::query("alter table dag rename column next_run_at to gone").execute(&world.pool).await.unwrap();
    let stop = CancellationToken::new();
    let scheduler = tokio::spawn(world.scheduler.clone().lease(lease).run(stop.clone()));
    world.reaches("d", &run, "slow", TaskState::UpForRetry).await;
    stop.cancel();
    scheduler.await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn the_late_result_of_a_zombie_is_refused(pool: PgPool) {
    let dag = Dag::new("d").retries(1).retry_delay(Duration::ZERO);
    dag.chain(dag.task("first", nothing) >> dag.task("second", nothing));
    let world = World::new(pool, vec![dag]).await;
    let run = world.start("d").await;
    let zombie = idle_worker(&world).await;
    let old = claim(&world, zombie).await.remove(0);
    let later = world.now().await + TimeDelta::seconds(60);
    assert_eq!(world.pass_at(later).await.rescued, 1);
    world.pass_at(later).await;
    assert_eq!(world.state("d", &run, "first").await, TaskState::Queued);

    let heir = idle_worker(&world).await;
    let new = claim(&world, heir).await.remove(0);
    assert_eq!((new.instance, new.try_number), (old.instance, 2));
    let mut conn = world.pool.acquire().await.unwrap();
    let late = settle(&mut conn, &world.graphs, vec![success(zombie, &old)], None).await.unwrap();
    assert_eq!((late.stale.len(), late.queued), (1, 0), "the zombie's result was taken");
    assert_eq!(world.state("d", &run, "first").await, TaskState::Running);
    let current = settle(&mut conn, &world.graphs, vec![success(heir, &new)], None).await.unwrap();
    assert_eq!((current.stale.len(), current.queued), (0, 1));
    // The same result a second time, as after a lost reply.
    let again = settle(&mut conn, &world.graphs, vec![success(heir, &new)], None).await.unwrap();
    assert_eq!((again.stale.len(), again.queued), (1, 0));
    assert_eq!(claim(&world, zombie).await.len(), 0, "a worker that is marked lost was given a task");
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn siblings_that_end_at_the_same_instant_are_both_counted(pool: PgPool) {
    const SIBLINGS: usize = 4;
    let dag = Dag::new("d");
    let siblings: Vec<_> = (0..SIBLINGS).map(|task| dag.task(&format!("t{task}"), nothing)).collect();
    dag.chain(siblings >> dag.task("join", nothing));
    let world = World::new(pool, vec![dag]).await;
    let run = world.start("d").await;
    let worker = idle_worker(&world).await;
    let claims = claim(&world, worker).await;
    assert_eq!(claims.len(), SIBLINGS);
    let barrier = Arc::new(Barrier::new(SIBLINGS));
    let settles = claims.into_iter().map(|claim| {
        let (barrier, pool, graphs) = (Arc::clone(&barrier), world.pool.clone(), world.graphs.clone());
        tokio::spawn(async move {
            let mut conn = pool.acquire().await.unwrap();
            barrier.wait().await;
            settle(&mut conn, &graphs, vec![success(worker, &claim)], None).await.unwrap().queued
        })
    });
    let queued: u64 = futures::future::join_all(settles).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(queued, 1, "the join must become ready once");
    assert_eq!(world.state("d", &run, "join").await, TaskState::Queued);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_that_stops_lets_its_tasks_end(pool: PgPool) {
    let dag = Dag::new("d");
    let gate = Gate::closed();
    gate.task(&dag, "slow");
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    let stopping = tokio::spawn(worker.stop());
    gate.opens_for(1);
    stopping.await.unwrap();
    assert_eq!(world.state("d", &run, "slow").await, TaskState::Success);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_does_not_end_in_time_is_handed_back_as_the_same_try(pool: PgPool) {
    let dag = Dag::new("d");
    let gate = Gate::closed();
    gate.task(&dag, "slow");
    let world = World::new(pool, vec![dag]).await;
    let settings = Settings { drain: Duration::from_millis(50), ..Settings::default() };
    let worker = world.worker(settings.clone());
    let run = world.start("d").await;
    gate.begun().await;
    worker.stop().await;
    assert_eq!(world.state("d", &run, "slow").await, TaskState::Queued);
    gate.opens_for(8);
    let heir = world.worker(settings);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    heir.stop().await;
    assert_eq!(gate.times(), 2);
    let tries = world.tries("d", &run, "slow").await;
    assert_eq!(tries.len(), 1, "a rolling restart must not use up tries: {tries:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_claim_whose_reply_was_lost_is_handed_back_by_the_heartbeat(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("only", nothing);
    let world = World::new(pool.clone(), vec![dag]).await;
    let worker = world.worker(Settings { slots: 0, ..Settings::default() });
    let run = world.start("d").await;
    // The worker has no slot, so it claims nothing; somebody commits a claim in its name.
    let mut conn = pool.acquire().await.unwrap();
    let claims = loop {
        let id: Option<ProcessId> = sqlx::query_scalar("select process_id from process where kind = 'worker'")
            .fetch_optional(&pool)
            .await
            .unwrap();
        if let Some(id) = id {
            let abilities = Abilities::of(Arc::clone(&world.registry));
            let claimant = Claimant { worker: id, abilities: &abilities, queues: &["default".to_owned()], free: 1 };
            break instances::claim(&mut conn, claimant).await.unwrap();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(claims.len(), 1);
    world.reaches("d", &run, "only", TaskState::Queued).await;
    worker.stop().await;
}

/// Blocks its thread until the workers' heartbeats have moved on, and says whether they did.
fn block_until_heard(options: sqlx::postgres::PgConnectOptions) -> bool {
    use sqlx::Connection;
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut conn = sqlx::PgConnection::connect_with(&options).await.unwrap();
            let mut beats = std::collections::BTreeSet::new();
            let heard = tokio::time::timeout(Duration::from_secs(60), async {
                // The one of its registration, and two more.
                while beats.len() < 3 {
                    let beat = "select max(heartbeat_at)::text from process where kind = 'worker'";
                    beats.insert(sqlx::query_scalar::<_, String>(beat).fetch_one(&mut conn).await.unwrap());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            heard.await.is_ok()
        })
    });
    elsewhere.join().unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_body_that_blocks_its_thread_does_not_make_its_worker_look_dead(pool: PgPool) {
    let dag = Dag::new("d");
    let options = (*pool.connect_options()).clone();
    dag.task("blocks", move |_: Context| {
        let options = options.clone();
        // All of the runtime: a test has one thread.
        async move { TaskResult::Ok(block_until_heard(options)) }
    });
    let world = World::new(pool, vec![dag]).await;
    let lease = process::Lease::of(Duration::from_secs(1));
    let worker = world.worker(Settings { lease, ..Settings::default() });
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.results("d", &run, "blocks").await, [serde_json::json!(true)]);
    assert_eq!(world.tries("d", &run, "blocks").await.len(), 1);
}
