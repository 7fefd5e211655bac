//! What a run owes to the one before, and what a DAG does when its runs keep failing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use orchestrator::{
    commands::{self, Backfill, By, Choice, ManualRun, Mark, Marked, OnVersion, RunChoice, TaskChoice},
    engine::Graphs,
    ids::{DagId, RunId},
    prelude::*,
    scheduler::Scheduler,
    state::{RunState, TaskState},
    store::{backfills::Reprocess, pages},
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

/// With catchup manual runs are not the ones before; runs of backfills are, and the first of a backfill owes nothing.
#[sqlx::test(migrations = "../migrations")]
async fn runs_of_a_backfill_wait_for_one_another_but_the_first(pool: PgPool) {
    let dag = Dag::new("d").schedule(Schedule::cron("@daily")).catchup(true);
    dag.task("load", async |context: Context| match context.conf()["fail"] == true {
        true => Err(anyhow::anyhow!("on purpose")),
        false => TaskResult::Ok(()),
    })
    .depends_on_past();
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    world.unpause("d").await;
    // Two old failures, of which one counts as scheduled.
    for day in 1..=2 {
        let date = Some(format!("2020-01-0{day}T00:00:00Z").parse().unwrap());
        let conf = Some(serde_json::json!({ "fail": true }));
        let run = world.trigger("d", ManualRun { conf, logical_date: date, ..ManualRun::default() }).await;
        assert_eq!(world.finished("d", &run).await, RunState::Failed);
    }
    sqlx::query("update dag_run set run_type = 'scheduled' where logical_date = '2020-01-01T00:00:00Z'")
        .execute(&world.pool)
        .await
        .unwrap();
    let backfill = Backfill {
        dag_id: "d".into(),
        from_date: "2020-01-03T00:00:00Z".parse().unwrap(),
        to_date: "2020-01-05T00:00:00Z".parse().unwrap(),
        run_backwards: false,
        conf: Some(serde_json::json!({ "fail": true })),
        reprocess: Reprocess::None,
        version: OnVersion::Latest,
        max_active_runs: 3,
    };
    let mut conn = world.pool.acquire().await.unwrap();
    commands::create_backfill(&mut conn, &world.graphs, &backfill, &By::test()).await.unwrap();
    drop(conn);
    for _ in 0..3 {
        world.pass().await;
    }
    world.count_reaches("d", TaskState::Failed, 3).await;
    world.pass().await;
    assert_eq!(world.count("d", TaskState::None).await, 2, "the second waits for the first, the third for the second");
    worker.stop().await;
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

/// A recheck that this binary cannot do (a newer one made the graph) keeps nobody behind it.
#[sqlx::test(migrations = "../migrations")]
async fn what_cannot_be_looked_at_holds_up_nothing_behind_it(pool: PgPool) {
    let dag = Dag::new("d").max_consecutive_failed_dag_runs(1);
    dag.task("only", async |_: Context| -> TaskResult<()> { anyhow::bail!("broken") });
    let strange = Dag::new("strange").max_consecutive_failed_dag_runs(1);
    strange.task("only", async |_: Context| -> TaskResult<()> { anyhow::bail!("broken") });
    let world = World::new(pool, vec![dag, strange]).await;
    for dag in ["strange", "d"] {
        let worker = world.worker(Settings::default());
        let run = world.start(dag).await;
        world.reaches(dag, &run, "only", TaskState::Failed).await;
        worker.stop().await;
    }
    let waiting: i64 = sqlx::query_scalar("select count(*) from recheck").fetch_one(&world.pool).await.unwrap();
    if waiting < 2 {
        // A pass of `reaches` was faster: what it did is done again.
        sqlx::query("insert into recheck (run_key) select run_key from dag_run order by dag_id desc")
            .execute(&world.pool)
            .await
            .unwrap();
    }
    sqlx::query("update dag set is_paused = false").execute(&world.pool).await.unwrap();
    sqlx::query("update dag_version set graph = '{}' where dag_id = 'strange'").execute(&world.pool).await.unwrap();
    let fresh = Scheduler::new(world.pool.clone(), Arc::clone(&world.registry), Graphs::default(), world.wake.clone());
    let now = world.now().await;
    fresh.run_once(&mut world.pool.acquire().await.unwrap(), now).await.unwrap();
    let paused: Vec<String> =
        sqlx::query_scalar("select dag_id from dag where is_paused").fetch_all(&world.pool).await.unwrap();
    assert_eq!(paused, ["d"]);
    let left: i64 = sqlx::query_scalar("select count(*) from recheck").fetch_one(&world.pool).await.unwrap();
    assert!(left > 0, "it stays written down");
}
