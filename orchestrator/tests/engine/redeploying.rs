//! A run goes over to the latest version of its DAG when it is cleared: Airflow's `run_on_latest_version`.

use std::sync::Arc;

use orchestrator::{
    commands::{self, By, Choice, Clear, OnVersion, Only, Refused, RunChoice, Running, TaskChoice},
    dag::Registry,
    ids::RunId,
    prelude::*,
    scheduler::register,
    state::{RunState, TaskState},
    worker::{Settings, Worker},
};
use sqlx::{PgPool, Row};
use tokio_util::sync::CancellationToken;

use super::{gate::Gate, world::World};

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

async fn fails(_: Context) -> TaskResult<()> {
    anyhow::bail!("as it was written")
}

async fn list(_: Context) -> TaskResult<Vec<u32>> {
    Ok(vec![1, 2])
}

async fn item(_: Context, item: u32) -> TaskResult<u32> {
    Ok(item)
}

async fn choose_left(_: Context) -> TaskResult<Branch> {
    Ok(Branch::to(["left"]))
}

/// A branch of which one side was not taken, a mapped task, and a task that fails.
fn before() -> Dag {
    let dag = Dag::new("d");
    let (list, fails) = (dag.task("list", list), dag.task("mends", fails));
    let mapped = dag.task("mapped", item.expand(list));
    let single = dag.task("single", nothing);
    let choose = dag.task("choose", choose_left);
    dag.chain(choose >> [dag.task("left", nothing), dag.task("right", nothing)]);
    dag.chain(dag.task("gone", nothing) >> fails);
    dag.chain(mapped >> single >> fails);
    dag
}

/// Everything in another order; what was mapped is not, and the other way round.
fn after() -> Dag {
    let dag = Dag::new("d");
    let mends = dag.task("mends", nothing);
    let new = dag.task("new", nothing);
    let right = dag.task("right", nothing);
    let choose = dag.task("choose", choose_left);
    dag.chain(choose >> [right, dag.task("left", nothing), dag.task("third", nothing)]);
    let list = dag.task("list", list);
    let single = dag.task("single", item.expand(list));
    let mapped = dag.task("mapped", nothing);
    dag.chain(list >> mapped);
    dag.chain(single >> mends >> new);
    dag
}

fn clear_of(run: &RunId, tasks: &[&str]) -> Clear {
    let tasks = TaskChoice { named: tasks.iter().map(|task| (*task).into()).collect(), ..TaskChoice::default() };
    let choice = Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks };
    Clear { version: OnVersion::Latest, ..Clear::of(choice) }
}

async fn clear(world: &World, clear: &Clear) -> Result<usize, Refused> {
    let mut conn = world.pool.acquire().await.unwrap();
    let preview = commands::preview_clear(&mut conn, &world.graphs, clear).await?;
    let cleared = commands::clear(&mut conn, &world.graphs, clear, &By::test()).await?;
    assert_eq!(preview.len(), cleared.len(), "the preview showed something else");
    Ok(cleared.len())
}

async fn deploy(world: &World, dag: Dag) -> Arc<Registry> {
    let registry = Arc::new(Registry::build(vec![dag]).unwrap());
    register(&mut world.pool.acquire().await.unwrap(), &registry).await.unwrap();
    registry
}

#[sqlx::test(migrations = "../migrations")]
async fn a_failed_run_goes_on_as_the_dag_is_now(pool: PgPool) {
    let world = World::new(pool, vec![before()]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    assert_eq!(world.instances("d", &run, "mapped").await.len(), 2);
    let registry = deploy(&world, after()).await;

    assert_eq!(clear(&world, &clear_of(&run, &["mends"])).await.unwrap(), 1);
    world.assert_counts().await;
    assert_eq!(world.state("d", &run, "list").await, TaskState::Success, "what was not cleared keeps its state");
    let all_removed = |states: Vec<(i32, TaskState)>| states.iter().all(|(_, state)| *state == TaskState::Removed);
    assert!(all_removed(world.instances("d", &run, "gone").await));

    let worker =
        Worker::new(world.pool.clone(), registry, world.graphs.clone(), world.wake.clone(), Settings::default());
    let stop = CancellationToken::new();
    let worker = tokio::spawn(worker.run(stop.clone()));
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    stop.cancel();
    worker.await.unwrap();
    world.assert_counts().await;

    let succeeded = |index| (index, TaskState::Success);
    assert_eq!(world.instances("d", &run, "single").await, [succeeded(0), succeeded(1)], "it is mapped now");
    let mapped = world.instances("d", &run, "mapped").await;
    let [unmapped, removed @ ..] = mapped.as_slice() else { panic!("no instance") };
    assert_eq!(*unmapped, succeeded(-1), "and this one is not");
    assert!(all_removed(removed.to_vec()) && removed.len() == 2, "{mapped:?}");
    for (task, tries, state) in [
        ("new", 1, TaskState::Success),
        ("mends", 2, TaskState::Success),
        ("list", 1, TaskState::Success),
        ("left", 1, TaskState::Success),
        ("right", 0, TaskState::Skipped),
        ("third", 0, TaskState::Skipped),
    ] {
        assert_eq!(world.state("d", &run, task).await, state, "{task}");
        assert_eq!(world.tries("d", &run, task).await.len(), tries, "{task}");
    }

    // The choice of the branch came along, under its new numbers.
    clear(&world, &clear_of(&run, &["right"])).await.unwrap();
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!(world.state("d", &run, "right").await, TaskState::Skipped);

    // And back: what was removed is there again.
    deploy(&world, before()).await;
    clear(&world, &clear_of(&run, &["left"])).await.unwrap();
    world.assert_counts().await;
    assert_eq!(world.instances("d", &run, "gone").await, [(-1, TaskState::None)]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_with_a_task_that_runs_stays_where_it_is(pool: PgPool) {
    let (dag, gate) = (Dag::new("d"), Gate::closed());
    gate.task(&dag, "holds");
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    deploy(&world, after()).await;
    let refused = clear(&world, &clear_of(&run, &[])).await.unwrap_err();
    assert!(matches!(refused, Refused::NotAtRest(_)), "{refused}");
    let prevent = Clear { version: OnVersion::Own, running: Running::Refuse, ..clear_of(&run, &[]) };
    let mut conn = world.pool.acquire().await.unwrap();
    let refused = commands::clear(&mut conn, &world.graphs, &prevent, &By::test()).await.unwrap_err();
    assert!(matches!(refused, Refused::Running(..)), "{refused}");
    drop(conn);
    let names: i64 = sqlx::query("select count(*) from task_instance").fetch_one(&world.pool).await.unwrap().get(0);
    assert_eq!(names, 1, "nothing of it has happened");
    gate.opens_for(1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_in_which_nothing_is_cleared_stays_as_it_is(pool: PgPool) {
    let version = |with_new: bool| {
        let dag = Dag::new("d");
        dag.task("old", nothing);
        if with_new {
            dag.task("new", nothing);
        }
        dag
    };
    let world = World::new(pool, vec![version(false)]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    let registry = deploy(&world, version(true)).await;
    let nothing_failed = Clear { only: Only::Failed, ..clear_of(&run, &[]) };
    assert_eq!(clear(&world, &nothing_failed).await.unwrap(), 0);
    assert_eq!(world.run_state("d", &run).await, RunState::Success);
    assert!(world.instances("d", &run, "new").await.is_empty(), "a task that nobody asked for");

    assert_eq!(clear(&world, &clear_of(&run, &["new"])).await.unwrap(), 1);
    let (pool, graphs, wake) = (world.pool.clone(), world.graphs.clone(), world.wake.clone());
    let stop = CancellationToken::new();
    let worker = tokio::spawn(Worker::new(pool, registry, graphs, wake, Settings::default()).run(stop.clone()));
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(world.state("d", &run, "new").await, TaskState::Success);
    assert_eq!(world.tries("d", &run, "old").await.len(), 1);
    world.assert_counts().await;
}
