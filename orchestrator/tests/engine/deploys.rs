//! A deploy while runs are under way: binaries with different tasks beside each other, and tasks that are gone.

use std::{sync::Arc, time::Duration};

use orchestrator::{
    commands::{self, By, Choice, Clear, ManualRun, RunChoice, TaskChoice},
    dag::Registry,
    prelude::*,
    scheduler::{Scheduler, register, remove_gone},
    state::{RunState, TaskState},
    worker::{Settings, Worker},
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::world::World;

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

/// The DAG before and after: `old` has gone, `new` has come.
fn version(tasks: &[&str]) -> Dag {
    let dag = Dag::new("d");
    let mut before: Option<Task<'_, ()>> = None;
    for task in tasks {
        let next = dag.task(task, nothing);
        if let Some(before) = before {
            dag.chain(before >> next);
        }
        before = Some(next);
    }
    dag
}

async fn deploy(world: &World, tasks: &[&str]) -> Arc<Registry> {
    let registry = Arc::new(Registry::build(vec![version(tasks)]).unwrap());
    register(&mut world.pool.acquire().await.unwrap(), &registry).await.unwrap();
    registry
}

fn start_worker(world: &World, registry: &Arc<Registry>) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let (pool, registry) = (world.pool.clone(), Arc::clone(registry));
    let worker = Worker::new(pool, registry, world.graphs.clone(), world.wake.clone(), Settings::default());
    let stop = CancellationToken::new();
    (stop.clone(), tokio::spawn(worker.run(stop)))
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_leaves_tasks_that_it_does_not_have_to_those_that_do(pool: PgPool) {
    let world = World::new(pool, vec![version(&["first", "old", "last"])]).await;
    let run = world.start("d").await;
    let after = deploy(&world, &["first", "new", "last"]).await;
    let (stop_new, new) = start_worker(&world, &after);
    world.reaches("d", &run, "first", TaskState::Success).await;
    // It is claimed by nobody: the only worker does not have it.
    for _ in 0..5 {
        world.pass().await;
        world.wake.worker();
        tokio::task::yield_now().await;
    }
    assert_eq!(world.state("d", &run, "old").await, TaskState::Queued);
    assert!(world.tries("d", &run, "old").await.is_empty());
    let (stop_old, old) = start_worker(&world, &world.registry);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!(world.tries("d", &run, "old").await, [(TaskState::Success, None)]);
    for (stop, worker) in [(stop_new, new), (stop_old, old)] {
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), worker).await.unwrap().unwrap();
    }
    // A run of the new version has the new task.
    let (stop, worker) = start_worker(&world, &after);
    let next = world.start("d").await;
    assert_eq!(world.finished("d", &next).await, RunState::Success);
    assert_eq!(world.state("d", &next, "new").await, TaskState::Success);
    stop.cancel();
    worker.await.unwrap();
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_that_is_gone_is_removed_when_the_last_worker_that_has_it_is_gone(pool: PgPool) {
    let world = World::new(pool, vec![version(&["first", "old", "last"])]).await;
    let run = world.start("d").await;
    let after = deploy(&world, &["first", "last"]).await;
    let remove = async || {
        let mut conn = world.pool.acquire().await.unwrap();
        remove_gone(&mut conn, &after, &world.graphs).await.unwrap()
    };
    assert_eq!(remove().await, 0, "no worker at all: one that has it may come back");
    let (stop_old, old) = start_worker(&world, &world.registry);
    let (stop_new, new) = start_worker(&world, &after);
    world.reaches("d", &run, "last", TaskState::Success).await;
    assert_eq!(world.finished("d", &run).await, RunState::Success, "as long as it lives, the old one runs it");
    let second = world.start("d").await;
    assert_eq!(world.finished("d", &second).await, RunState::Success);

    // The same with nobody left who has it.
    register(&mut world.pool.acquire().await.unwrap(), &world.registry).await.unwrap();
    stop_old.cancel();
    old.await.unwrap();
    let third = world.start("d").await;
    deploy(&world, &["first", "last"]).await;
    world.reaches("d", &third, "first", TaskState::Success).await;
    world.reaches("d", &third, "old", TaskState::Queued).await;
    assert_eq!(remove().await, 1);
    assert_eq!(world.finished("d", &third).await, RunState::Success);
    assert_eq!(world.state("d", &third, "old").await, TaskState::Removed);
    assert_eq!(world.state("d", &third, "last").await, TaskState::Success);
    stop_new.cancel();
    new.await.unwrap();
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_of_a_dag_that_is_gone_fails_gives_its_slots_back_and_may_be_cleared(pool: PgPool) {
    let other = || {
        let other = Dag::new("other");
        other.task("only", nothing);
        other
    };
    let world = World::new(pool, vec![version(&["first", "old"]).max_active_runs(1), other()]).await;
    let run = world.start("d").await;
    assert_eq!(world.state("d", &run, "first").await, TaskState::Queued);
    let waits = world.trigger("d", ManualRun::default()).await;
    let after = Arc::new(Registry::build(vec![other()]).unwrap());
    let mut conn = world.pool.acquire().await.unwrap();
    register(&mut conn, &after).await.unwrap();
    let (stop, worker) = start_worker(&world, &after);
    let beside = world.start("other").await;
    assert_eq!(world.finished("other", &beside).await, RunState::Success);
    // A scheduler of another program has stopped just now: it may be the one that has the DAG, and only restarts.
    let stopped = "insert into process (process_id, kind, hostname, pid, slots, lease_secs, build, state)
                   values (gen_random_uuid(), 'scheduler', 'h', 1, 0, 12, 'another', 'stopped')";
    sqlx::query(stopped).execute(&world.pool).await.unwrap();
    assert_eq!(remove_gone(&mut conn, &after, &world.graphs).await.unwrap(), 0);
    let long_ago = "update process set heartbeat_at = now() - interval '6 minutes' where build = 'another'";
    sqlx::query(long_ago).execute(&world.pool).await.unwrap();
    assert_eq!(remove_gone(&mut conn, &after, &world.graphs).await.unwrap(), 2);
    assert_eq!(world.run_state("d", &run).await, RunState::Failed);
    assert_eq!(world.run_state("d", &waits).await, RunState::Queued, "it holds nothing, and the dag may come back");
    // Nobody holds a slot.
    world.assert_counts().await;
    assert_eq!(remove_gone(&mut conn, &after, &world.graphs).await.unwrap(), 0);
    stop.cancel();
    worker.await.unwrap();
    // It does.
    register(&mut conn, &world.registry).await.unwrap();
    let choice = Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks: TaskChoice::default() };
    commands::clear(&mut conn, &world.graphs, &Clear::of(choice), &By::test()).await.unwrap();
    let (stop, worker) = start_worker(&world, &world.registry);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    stop.cancel();
    worker.await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_mapped_group_goes_on_without_a_task_that_is_gone(pool: PgPool) {
    let grouped = |tasks: &[&str]| {
        let dag = Dag::new("d");
        let group = dag.group("each").expand([1_u32, 2, 3]);
        let mut before: Option<Task<'_, ()>> = None;
        for task in tasks {
            let next = group.task(task, nothing);
            if let Some(before) = before {
                dag.chain(before >> next);
            }
            before = Some(next);
        }
        dag
    };
    let world = World::new(pool, vec![grouped(&["first", "old", "last"])]).await;
    let run = world.start("d").await;
    let after = Arc::new(Registry::build(vec![grouped(&["first", "last"])]).unwrap());
    register(&mut world.pool.acquire().await.unwrap(), &after).await.unwrap();
    let (stop, worker) = start_worker(&world, &after);
    while world.instances("d", &run, "each.old").await.iter().any(|(_, state)| *state != TaskState::Queued) {
        world.pass().await;
        tokio::task::yield_now().await;
    }
    let removed = remove_gone(&mut world.pool.acquire().await.unwrap(), &after, &world.graphs).await.unwrap();
    assert_eq!(removed, 3);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    stop.cancel();
    worker.await.unwrap();
    let all = |state| [(0, state), (1, state), (2, state)];
    assert_eq!(world.instances("d", &run, "each.old").await, all(TaskState::Removed));
    assert_eq!(world.instances("d", &run, "each.last").await, all(TaskState::Success));
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_graph_that_this_binary_cannot_read_holds_up_nobody_else(pool: PgPool) {
    let other = Dag::new("other");
    other.task("only", nothing);
    let world = World::new(pool, vec![version(&["first", "last"]), other]).await;
    let run = world.start("d").await;
    let stored: serde_json::Value =
        sqlx::query_scalar("select graph from dag_version where dag_id = 'd'").fetch_one(&world.pool).await.unwrap();
    let write = async |graph: &serde_json::Value| {
        let update = sqlx::query("update dag_version set graph = $1 where dag_id = 'd' and number = 1").bind(graph);
        update.execute(&world.pool).await.unwrap();
    };
    // As a later binary might write it. The world has read it before, a worker that has just started has not.
    write(&serde_json::json!({ "written": "by a newer binary" })).await;
    let (pool, registry) = (world.pool.clone(), Arc::clone(&world.registry));
    let (graphs, wake) = (orchestrator::engine::Graphs::default(), world.wake.clone());
    let stop = CancellationToken::new();
    let old = tokio::spawn(Worker::new(pool, registry, graphs, wake, Settings::default()).run(stop.clone()));
    let beside = world.start("other").await;
    assert_eq!(world.finished("other", &beside).await, RunState::Success);
    assert_eq!(world.state("d", &run, "first").await, TaskState::Queued);
    // Nor the runs of the versions that it can read: there they go on, and so does the duty that cleans up after deploys.
    register(&mut world.pool.acquire().await.unwrap(), &Registry::build(vec![version(&["first"])]).unwrap())
        .await
        .unwrap();
    let readable = world.start("d").await;
    assert_eq!(world.finished("d", &readable).await, RunState::Success);
    let mut conn = world.pool.acquire().await.unwrap();
    remove_gone(&mut conn, &world.registry, &orchestrator::engine::Graphs::default()).await.unwrap();
    drop(conn);
    stop.cancel();
    old.await.unwrap();
    write(&stored).await;
    let (stop, worker) = start_worker(&world, &world.registry);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    stop.cancel();
    worker.await.unwrap();
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_limit_that_a_deploy_adds_counts_what_runs_of_the_task_already(pool: PgPool) {
    let load = |limit: Option<u32>| {
        let dag = Dag::new("d");
        let load = dag.task("load", nothing);
        if let Some(limit) = limit {
            load.max_active_tis_per_dag(limit);
        }
        dag
    };
    let world = World::new(pool, vec![load(None)]).await;
    let before = world.start("d").await;
    assert_eq!(world.state("d", &before, "load").await, TaskState::Queued);
    let after = Arc::new(Registry::build(vec![load(Some(1))]).unwrap());
    register(&mut world.pool.acquire().await.unwrap(), &after).await.unwrap();
    let waits = world.start("d").await;
    assert_eq!(world.state("d", &waits, "load").await, TaskState::Scheduled);
    world.assert_counts().await;
    // The one of before gives nothing back, as its version knows no limit: a scheduler counts again.
    let (stop, worker) = start_worker(&world, &after);
    assert_eq!(world.finished("d", &before).await, RunState::Success);
    let (pool, graphs, wake) = (world.pool.clone(), world.graphs.clone(), world.wake.clone());
    let scheduler = tokio::spawn(Scheduler::new(pool, after, graphs, wake).run(stop.clone()));
    assert_eq!(world.finished("d", &waits).await, RunState::Success);
    stop.cancel();
    worker.await.unwrap();
    scheduler.await.unwrap();
    world.assert_counts().await;
}
