//! A paused DAG: what runs goes on, nothing else begins, and nothing is lost when it goes on.

use orchestrator::{
    engine::Gate as Slots,
    prelude::*,
    state::{RunState, TaskState},
    store,
    worker::Settings,
};
use sqlx::PgPool;

use super::{gate::Gate, world::World};

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_pause_holds_the_next_task_of_a_run_that_has_started(pool: PgPool) {
    let (dag, gate) = (Dag::new("d"), Gate::closed());
    dag.chain(gate.task(&dag, "first") >> dag.task("second", nothing));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    world.set_paused("d", true).await;
    gate.opens_for(1);
    world.reaches("d", &run, "first", TaskState::Success).await;
    world.pass().await;
    assert_eq!(world.state("d", &run, "second").await, TaskState::Scheduled);
    assert_eq!(world.run_state("d", &run).await, RunState::Running);
    world.assert_counts().await;
    world.unpause("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_stood_in_line_for_a_pool_or_its_task_steps_back_for_others(pool: PgPool) {
    let (held, other) = (Dag::new("held").max_active_tasks(100), Dag::new("other"));
    let (gate, others) = (Gate::closed(), Gate::closed());
    for task in 0..4 {
        gate.task(&held, &format!("t{task}")).pool("narrow").max_active_tis_per_dag(3);
    }
    gate.task(&held, "alone").max_active_tis_per_dag(1);
    others.task(&other, "t").pool("narrow").priority_weight(-1);
    let world = World::new(pool, vec![held, other]).await;
    let mut conn = world.pool.acquire().await.unwrap();
    store::slots::set_total(&mut conn, &Slots::pool("narrow"), 1).await.unwrap();
    drop(conn);
    let worker = world.worker(Settings::default());
    let runs = [world.start("held").await, world.start("held").await];
    world.count_reaches("held", TaskState::Running, 2).await;
    let run = world.start("other").await;
    assert_eq!(world.count("held", TaskState::Scheduled).await, 8);
    world.set_paused("held", true).await;
    world.assert_counts().await;
    gate.opens_for(2);
    world.reaches("other", &run, "t", TaskState::Running).await;
    world.pass().await;
    assert_eq!(world.count("held", TaskState::Scheduled).await, 8);
    others.opens_for(1);
    assert_eq!(world.finished("other", &run).await, RunState::Success);
    world.unpause("held").await;
    gate.opens_for(8);
    for run in &runs {
        assert_eq!(world.finished("held", run).await, RunState::Success);
    }
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_retry_that_comes_due_waits_for_the_end_of_a_pause(pool: PgPool) {
    let (dag, gate) = (Dag::new("d"), Gate::closed());
    let body = {
        let gate = gate.clone();
        move |context: Context| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                anyhow::ensure!(context.try_number() > 1, "the first try fails");
                TaskResult::Ok(())
            }
        }
    };
    dag.task("flaky", body).retries(1).retry_delay(std::time::Duration::ZERO);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    world.set_paused("d", true).await;
    gate.opens_for(2);
    world.reaches("d", &run, "flaky", TaskState::UpForRetry).await;
    world.pass().await;
    assert_eq!(world.state("d", &run, "flaky").await, TaskState::Scheduled);
    world.unpause("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}
