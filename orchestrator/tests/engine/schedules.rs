//! When runs are made, and when they start.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchestrator::{
    commands::ManualRun,
    prelude::*,
    state::{RunState, TaskState},
    worker::Settings,
};
use sqlx::{PgPool, Row};

use super::{gate::Gate, world::World};

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

fn dag(id: &str) -> Dag {
    let dag = Dag::new(id);
    dag.task("only", nothing);
    dag
}

async fn run_ids(pool: &PgPool, dag: &str) -> Vec<String> {
    sqlx::query("select run_id from dag_run where dag_id = $1 order by run_after")
        .bind(dag)
        .fetch_all(pool)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.get(0))
        .collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn catchup_makes_every_slot_and_otherwise_only_the_latest(pool: PgPool) {
    let start = Utc::now() - TimeDelta::hours(5);
    let settings = |dag: Dag| dag.schedule(Schedule::cron("@hourly")).start_date(start).max_active_runs(100);
    let dags = ["all", "latest"].map(|id| {
        let dag = settings(Dag::new(id).catchup(id == "all"));
        dag.task("only", nothing);
        dag
    });
    let world = World::new(pool.clone(), dags.into()).await;
    assert_eq!(world.pass().await.created, 0, "a paused dag makes no runs");
    world.unpause("all").await;
    world.unpause("latest").await;
    world.pass().await;
    assert_eq!(run_ids(&pool, "all").await.len(), 5);
    assert_eq!(run_ids(&pool, "latest").await.len(), 1);
    assert_eq!(run_ids(&pool, "latest").await[0], *run_ids(&pool, "all").await.last().unwrap());
    let in_two_hours = world.now().await + TimeDelta::hours(2);
    world.pass_at(in_two_hours).await;
    assert_eq!(run_ids(&pool, "all").await.len(), 7);
    assert_eq!(run_ids(&pool, "latest").await.len(), 2);
}

#[sqlx::test(migrations = "../migrations")]
async fn two_schedulers_make_each_run_once(pool: PgPool) {
    let start = Utc::now() - TimeDelta::hours(9);
    let dag = Dag::new("d").schedule(Schedule::cron("@hourly")).start_date(start).catchup(true).max_active_runs(4);
    dag.task("only", nothing);
    let world = World::new(pool.clone(), vec![dag]).await;
    world.unpause("d").await;
    let (now, barrier) = (world.now().await, tokio::sync::Barrier::new(4));
    let pass = async || {
        barrier.wait().await;
        world.pass_at(now).await
    };
    let passes = tokio::join!(pass(), pass(), pass(), pass());
    let passes = [passes.0, passes.1, passes.2, passes.3];
    assert_eq!(passes.iter().map(|pass| pass.created).sum::<u64>(), 4, "max_active_runs is exceeded or not used");
    assert_eq!(run_ids(&pool, "d").await.len(), 4);
}

#[sqlx::test(migrations = "../migrations")]
async fn no_more_than_max_active_runs_run_and_paused_dags_wait(pool: PgPool) {
    let limited = Dag::new("d").max_active_runs(2);
    limited.task("only", nothing);
    let world = World::new(pool.clone(), vec![limited]).await;
    let runs = [
        world.trigger("d", ManualRun::default()).await,
        world.trigger("d", ManualRun::default()).await,
        world.trigger("d", ManualRun::default()).await,
    ];
    assert_eq!(world.pass().await.promoted, 0, "a manual run of a paused dag waits");
    world.unpause("d").await;
    assert_eq!(world.pass().await.promoted, 2);
    assert_eq!(world.run_state("d", &runs[2]).await, RunState::Queued);
    let worker = world.worker(Settings::default());
    for run in &runs {
        assert_eq!(world.finished("d", run).await, RunState::Success);
    }
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_run_is_not_made_twice(pool: PgPool) {
    let world = World::new(pool.clone(), vec![dag("d")]).await;
    let logical_date = Some(Utc::now());
    world.trigger("d", ManualRun { logical_date, ..ManualRun::default() }).await;
    let mut conn = pool.acquire().await.unwrap();
    let again = ManualRun { logical_date, run_id: Some("other".into()), ..ManualRun::default() };
    let by = &orchestrator::commands::By::test();
    let refused = orchestrator::commands::trigger(&mut conn, &world.graphs, &"d".into(), again, by).await;
    assert!(matches!(refused, Err(orchestrator::commands::Refused::RunExists { .. })), "{refused:?}");
    assert_eq!(run_ids(&pool, "d").await.len(), 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_same_graph_makes_no_new_version(pool: PgPool) {
    let world = World::new(pool.clone(), vec![dag("d")]).await;
    let versions =
        async || -> i64 { sqlx::query("select count(*) from dag_version").fetch_one(&pool).await.unwrap().get(0) };
    assert_eq!(versions().await, 1);
    World::new(pool.clone(), vec![dag("d")]).await;
    assert_eq!(versions().await, 1);
    let changed = dag("d");
    changed.task("another", nothing);
    World::new(pool.clone(), vec![changed]).await;
    assert_eq!(versions().await, 2);
    drop(world);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_schedule_without_a_start_date_fires_at_its_first_slot(pool: PgPool) {
    let hourly = || {
        let dag = Dag::new("d").schedule(Schedule::cron("@hourly")).is_paused_upon_creation(false);
        dag.task("only", nothing);
        dag
    };
    let world = World::new(pool.clone(), vec![hourly()]).await;
    assert_eq!(world.pass().await.created, 0, "the first slot lies ahead");
    let first: chrono::DateTime<Utc> =
        sqlx::query_scalar("select next_run_at from dag").fetch_one(&pool).await.unwrap();
    // A redeploy does not move it on.
    World::new(pool.clone(), vec![hourly()]).await;
    assert_eq!(world.pass_at(first + TimeDelta::milliseconds(10)).await.created, 1);
    assert_eq!(world.pass_at(first + TimeDelta::minutes(61)).await.created, 1);
    assert_eq!(run_ids(&pool, "d").await.len(), 2);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_dag_that_this_binary_does_not_have_gets_no_runs(pool: PgPool) {
    let gone = Dag::new("gone").schedule(Schedule::cron("@hourly")).start_date(Utc::now() - TimeDelta::hours(3));
    gone.task("only", nothing);
    World::new(pool.clone(), vec![gone]).await.unpause("gone").await;
    let world = World::new(pool.clone(), vec![dag("kept")]).await;
    let pass = world.pass().await;
    assert_eq!((pass.created, pass.promoted), (0, 0));
}

/// Another one after each write.
async fn version_of_row(pool: &PgPool, dag: &str) -> String {
    sqlx::query("select xmin::text from dag where dag_id = $1").bind(dag).fetch_one(pool).await.unwrap().get(0)
}

#[sqlx::test(migrations = "../migrations")]
async fn once_runs_once_and_continuous_whenever_the_run_before_has_ended(pool: PgPool) {
    let once = Dag::new("once").schedule(Schedule::Once);
    once.task("only", nothing);
    let continuous = Dag::new("continuous").schedule(Schedule::Continuous).max_active_runs(1);
    let gate = Gate::closed();
    gate.task(&continuous, "only");
    let world = World::new(pool.clone(), vec![once, continuous]).await;
    let worker = world.worker(Settings::default());
    world.unpause("once").await;
    world.unpause("continuous").await;
    for round in 1..=3 {
        world.pass().await;
        let runs = run_ids(&pool, "continuous").await;
        assert_eq!(runs.len(), round, "the run before has ended");
        let before = version_of_row(&pool, "continuous").await;
        assert_eq!(world.pass().await.created, 0, "while it runs there is no room");
        assert_eq!(version_of_row(&pool, "continuous").await, before, "nothing is written of a DAG that waits");
        gate.opens_for(1);
        world.reaches("continuous", &runs[round - 1].as_str().into(), "only", TaskState::Success).await;
        assert_eq!(run_ids(&pool, "once").await.len(), 1);
    }
    worker.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn with_a_jitter_a_run_is_made_at_its_slot_and_starts_later(pool: PgPool) {
    let dag = Dag::new("d").schedule(Schedule::cron("@hourly")).jitter(Duration::from_secs(3_000));
    dag.task("only", nothing);
    let world = World::new(pool.clone(), vec![dag]).await;
    world.unpause("d").await;
    let slot: DateTime<Utc> = sqlx::query("select next_run_at from dag").fetch_one(&world.pool).await.unwrap().get(0);
    let pass = world.pass_at(slot).await;
    assert_eq!((pass.created, pass.promoted), (1, 0));
    let run = sqlx::query("select logical_date, run_after from dag_run").fetch_one(&pool).await.unwrap();
    let (date, after): (DateTime<Utc>, DateTime<Utc>) = (run.get(0), run.get(1));
    assert_eq!(date, slot);
    assert!(after > slot && after <= slot + TimeDelta::seconds(3_000), "{after}");
    assert_eq!(world.pass_at(after).await.promoted, 1);
}
