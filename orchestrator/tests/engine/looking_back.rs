//! What a run owes to the one before, and what a DAG does when its runs keep failing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use orchestrator::{
    commands::{self, By, Choice, ManualRun, Mark, Marked, RunChoice, TaskChoice},
    ids::{DagId, RunId},
    prelude::*,
    state::{RunState, TaskState},
    store::pages,
    worker::Settings,
};
use sqlx::PgPool;

use super::world::World;

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

/// A run for a day, started.
async fn day(world: &World, day: u8) -> RunId {
    let date = Some(format!("2026-01-0{day}T00:00:00Z").parse().unwrap());
    let run_id = Some(RunId::from(format!("day{day}")));
    let run = world.trigger("d", ManualRun { run_id, logical_date: date, ..ManualRun::default() }).await;
    world.pass().await;
    run
}

async fn mark(world: &World, run: &RunId, task: &str, state: Marked) {
    let tasks = TaskChoice { named: vec![task.into()], ..TaskChoice::default() };
    let choice = Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks };
    let mut conn = world.pool.acquire().await.unwrap();
    commands::mark(&mut conn, &world.graphs, &Mark { choice, state }, &By::test()).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_waits_until_it_has_ended_well_in_the_run_before(pool: PgPool) {
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&is_broken);
    let dag = Dag::new("d");
    let load = dag.task("load", move |_: Context| {
        let broken = broken.load(Ordering::SeqCst);
        async move { if broken { anyhow::bail!("broken") } else { Ok(()) } }
    });
    dag.chain(dag.task("start", nothing) >> load.depends_on_past());
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    world.unpause("d").await;
    let first = day(&world, 1).await;
    assert_eq!(world.finished("d", &first).await, RunState::Failed, "the first run waits for nothing");
    is_broken.store(false, Ordering::SeqCst);

    let (second, third) = (day(&world, 2).await, day(&world, 3).await);
    world.reaches("d", &second, "start", TaskState::Success).await;
    world.reaches("d", &third, "start", TaskState::Success).await;
    for _ in 0..3 {
        world.pass().await;
    }
    assert_eq!(world.state("d", &second, "load").await, TaskState::None);
    // Somebody mends the first day: the others follow by themselves, one after the other.
    mark(&world, &first, "load", Marked::Success).await;
    assert_eq!(world.finished("d", &second).await, RunState::Success);
    assert_eq!(world.finished("d", &third).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn wait_for_downstream_waits_for_the_tasks_after_it_too(pool: PgPool) {
    let dag = Dag::new("d");
    let after = dag.task("after", async |context: Context| match context.run_id().as_str() {
        "day1" => Err(anyhow::anyhow!("broken")),
        _ => Ok(()),
    });
    dag.chain(dag.task("first", nothing).wait_for_downstream() >> after);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    world.unpause("d").await;
    let first = day(&world, 1).await;
    assert_eq!(world.finished("d", &first).await, RunState::Failed);
    let second = day(&world, 2).await;
    world.pass().await;
    assert_eq!(world.state("d", &second, "first").await, TaskState::None);
    mark(&world, &first, "after", Marked::Skipped).await;
    assert_eq!(world.finished("d", &second).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_dag_whose_runs_keep_failing_is_paused(pool: PgPool) {
    let dag = Dag::new("d").max_consecutive_failed_dag_runs(2);
    dag.task("bad", async |context: Context| match context.run_id().as_str() {
        "day2" => Ok(()),
        _ => Err(anyhow::anyhow!("broken")),
    });
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    world.unpause("d").await;
    for (number, expected) in [(1, false), (2, false), (3, false), (4, true)] {
        let run = day(&world, number).await;
        world.finished("d", &run).await;
        world.pass().await;
        let mut conn = world.pool.acquire().await.unwrap();
        let dag = pages::dags::get(&mut conn, &DagId::from("d")).await.unwrap().unwrap();
        assert_eq!(dag.is_paused, expected, "after day {number}");
    }
    worker.stop().await;
}
