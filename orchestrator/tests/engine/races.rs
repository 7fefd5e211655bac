//! What two do to one run, or one DAG, at the same instant: either may be first, and both are whole.

use chrono::{DurationRound, TimeDelta};
use orchestrator::{
    commands::{self, By, Choice, Clear, ManualRun, RunChoice, TaskChoice},
    engine::settle,
    ids::{ProcessId, RunId},
    prelude::*,
    state::{RunState, TaskState},
    store::instances::Claim,
    worker::Settings,
};
use sqlx::PgPool;
use tokio::sync::Barrier;

use super::{
    by_hand::{claim, idle_worker, success},
    world::World,
};

/// Often enough that either one is first in some of them.
const ROUNDS: usize = 20;

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

/// The only attempt succeeds.
async fn end(world: &World, worker: ProcessId, claims: &[Claim]) {
    let mut conn = world.pool.acquire().await.unwrap();
    settle(&mut conn, &world.graphs, vec![success(worker, &claims[0])], None).await.unwrap();
}

async fn clear_all(world: &World, run: &RunId) {
    let clear =
        Clear::of(Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks: TaskChoice::default() });
    let mut conn = world.pool.acquire().await.unwrap();
    commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_clear_that_meets_the_end_of_a_run_leads_to_one_more_try(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("only", nothing).retries(0);
    let world = World::new(pool, vec![dag]).await;
    let worker = idle_worker(&world).await;
    for _ in 0..ROUNDS {
        let run = world.start("d").await;
        let (claims, barrier) = (claim(&world, worker).await, Barrier::new(2));
        let ends = async {
            barrier.wait().await;
            end(&world, worker, &claims).await;
        };
        let cleared = async {
            barrier.wait().await;
            clear_all(&world, &run).await;
        };
        tokio::join!(ends, cleared);
        assert!(!world.run_state("d", &run).await.is_finished(), "the clear was lost");
        world.assert_counts().await;
        world.pass().await;
        end(&world, worker, &claim(&world, worker).await).await;
        assert_eq!(world.run_state("d", &run).await, RunState::Success);
        assert_eq!(world.tries("d", &run, "only").await.len(), 2, "one try before the clear, and one after it");
        world.assert_counts().await;
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_pause_that_meets_a_fire_leaves_no_slot_out_and_fires_none_twice(pool: PgPool) {
    let dag = Dag::new("d").schedule(Schedule::cron("@hourly")).catchup(true).max_active_runs(ROUNDS as u32 + 2);
    // Between two slots, whatever the time of day is: as many slots are due after so many hours as there are rounds.
    let start = chrono::Utc::now().duration_trunc(TimeDelta::hours(1)).unwrap() + TimeDelta::minutes(30);
    let dag = dag.start_date(start);
    dag.task("only", nothing);
    let world = World::new(pool, vec![dag]).await;
    for hour in 1..=ROUNDS as i64 {
        world.unpause("d").await;
        let (barrier, at) = (Barrier::new(2), start + TimeDelta::hours(hour));
        let fired = async {
            barrier.wait().await;
            world.pass_at(at).await
        };
        let paused = async {
            barrier.wait().await;
            world.set_paused("d", true).await;
        };
        tokio::join!(fired, paused);
        let before = runs(&world).await;
        assert_eq!(world.pass_at(at).await.created, 0, "a paused DAG fired");
        assert_eq!(runs(&world).await, before);
    }
    world.unpause("d").await;
    // A duty leaves a DAG that somebody holds to its next pass.
    for _ in 0..ROUNDS {
        world.pass_at(start + TimeDelta::hours(ROUNDS as i64)).await;
    }
    assert_eq!(runs(&world).await.len(), ROUNDS, "a slot was left out, or fired twice");
    let worker = world.worker(Settings::default());
    world.count_reaches("d", TaskState::Success, ROUNDS as i64).await;
    worker.stop().await;
    world.assert_counts().await;
}

async fn runs(world: &World) -> Vec<String> {
    let ids = sqlx::query_scalar("select run_id from dag_run where dag_id = 'd' order by logical_date");
    ids.fetch_all(&world.pool).await.unwrap()
}

/// Pauses come between the tasks of chains all the time; what they hold must go on when they end.
#[sqlx::test(migrations = "../migrations")]
async fn pauses_that_meet_the_ends_of_tasks_leave_nobody_behind(pool: PgPool) {
    let dag = Dag::new("d").max_active_tasks(2);
    for chain in 0..4 {
        let task = |step: i32| dag.task(&format!("t{chain}_{step}"), nothing).max_active_tis_per_dag(1);
        dag.chain(task(0) >> task(1) >> task(2) >> task(3));
    }
    let world = World::new(pool, vec![dag]).await;
    world.unpause("d").await;
    let runs = [world.trigger("d", ManualRun::default()).await, world.trigger("d", ManualRun::default()).await];
    world.pass().await;
    let worker = world.worker(Settings::default());
    let mut pauses = 0;
    while world.count("d", TaskState::Success).await < 32 {
        world.set_paused("d", true).await;
        world.unpause("d").await;
        pauses += 1;
        assert!(pauses < 10_000, "a pause has left somebody behind");
    }
    for run in &runs {
        assert_eq!(world.finished("d", run).await, RunState::Success);
    }
    worker.stop().await;
    world.assert_counts().await;
    assert!(pauses > 1, "all ended within one pause");
}
