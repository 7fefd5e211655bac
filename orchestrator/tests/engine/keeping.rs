//! Retention: what is old goes, what is needed stays, and nobody waits for it.

use std::time::Duration;

use chrono::TimeDelta;
use orchestrator::{prelude::*, retention, state::RunState, worker::Settings};
use sqlx::{Connection, PgPool};

use super::world::World;

async fn one(pool: &PgPool, question: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(question.to_owned())).fetch_one(pool).await.unwrap()
}

/// A DAG with a result and a log line, and some runs of it that have ended; `old` of them forty days ago.
async fn world_with_runs(pool: PgPool, runs: usize, old: usize) -> World {
    let dag = Dag::new("d");
    dag.task("only", async |_: Context| TaskResult::Ok(1));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    sqlx::query("select ensure_partitions(current_date - 41, current_date - 39)").execute(&world.pool).await.unwrap();
    for run in 0..runs {
        let id = world.start("d").await;
        assert_eq!(world.finished("d", &id).await, RunState::Success);
        if run < old {
            for statement in [
                "update dag_run set end_date = now() - interval '40 days', run_day = current_date - 40 where run_id = $1",
                "update task_try set run_day = current_date - 40 where instance_key in (select instance_key from
                 task_instance join dag_run using (run_key) where run_id = $1)",
                "update xcom set run_day = current_date - 40 where run_key in (select run_key from dag_run where run_id = $1)",
            ] {
                sqlx::query(statement).bind(id.as_str()).execute(&world.pool).await.unwrap();
            }
        }
    }
    worker.stop().await;
    world
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_old_goes_with_its_history_and_the_rest_stays(pool: PgPool) {
    let world = world_with_runs(pool.clone(), 5, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let cleaned = retention::clean(&mut conn, world.now().await - TimeDelta::days(30)).await.unwrap();
    assert_eq!(cleaned.runs, 3);
    // Three days of four tables.
    assert_eq!(cleaned.partitions.len(), 12, "{:?}", cleaned.partitions);
    assert_eq!(one(&pool, "select count(*) from dag_run").await, 2);
    assert_eq!(one(&pool, "select count(*) from task_instance").await, 2);
    for table in ["task_try", "xcom"] {
        assert_eq!(one(&pool, &format!("select count(*) from {table}")).await, 2, "{table}");
    }
    let again = retention::clean(&mut conn, world.now().await - TimeDelta::days(30)).await.unwrap();
    assert_eq!(again, retention::Cleaned::default());
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_history_of_an_old_run_that_runs_again_stays(pool: PgPool) {
    let world = world_with_runs(pool.clone(), 2, 2).await;
    sqlx::query(
        "update dag_run set state = 'running', end_date = null
         where run_key = (select min(run_key) from dag_run)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let mut conn = pool.acquire().await.unwrap();
    let cleaned = retention::clean(&mut conn, world.now().await - TimeDelta::days(30)).await.unwrap();
    assert_eq!(cleaned.runs, 1);
    assert!(one(&pool, "select count(*) from task_try where run_day = current_date - 40").await > 0);
    assert!(cleaned.partitions.iter().filter(|name| name.starts_with("task_try")).count() == 1, "{cleaned:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_that_never_started_keeps_no_history_and_the_last_scheduled_one_stays(pool: PgPool) {
    let world = world_with_runs(pool.clone(), 3, 3).await;
    for statement in [
        "update dag_run set state = 'queued', start_date = null, end_date = null
         where run_key = (select min(run_key) from dag_run)",
        // As if it had never begun.
        "update task_instance set try_number = 0 where run_key = (select min(run_key) from dag_run)",
        "delete from xcom where run_key = (select min(run_key) from dag_run)",
        "update dag_run set run_type = 'scheduled' where run_key = (select max(run_key) from dag_run)",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let mut conn = pool.acquire().await.unwrap();
    let cleaned = retention::clean(&mut conn, world.now().await - TimeDelta::days(30)).await.unwrap();
    assert_eq!(cleaned.runs, 1, "the waiting one, and the last that was scheduled, stay");
    assert_eq!(cleaned.partitions.iter().filter(|name| name.starts_with("task_try")).count(), 3, "{cleaned:?}");
    // When it starts at last, its history is of that day.
    assert_eq!(world.pass().await.promoted, 1);
    let of_today = "select count(*) from dag_run where run_day = (now() at time zone 'utc')::date
                    and run_key = (select min(run_key) from dag_run)";
    assert_eq!(one(&pool, of_today).await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_partition_that_somebody_reads_is_left_and_nobody_waits_for_it(pool: PgPool) {
    let world = world_with_runs(pool.clone(), 2, 1).await;
    let mut reader = pool.acquire().await.unwrap();
    let mut reading = reader.begin().await.unwrap();
    sqlx::query("select count(*) from task_try where run_day = current_date - 40")
        .execute(&mut *reading)
        .await
        .unwrap();
    let mut conn = pool.acquire().await.unwrap();
    let before = world.now().await - TimeDelta::days(30);
    let cleaned = retention::clean(&mut conn, before).await.unwrap();
    assert_eq!(cleaned.runs, 1);
    assert!(!cleaned.partitions.iter().any(|name| name.starts_with("task_try")), "{cleaned:?}");
    // While it is still being read, tries are written.
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    tokio::time::timeout(Duration::from_secs(60), world.finished("d", &run)).await.unwrap();
    worker.stop().await;
    reading.rollback().await.unwrap();
    let cleaned = retention::clean(&mut conn, before).await.unwrap();
    assert!(cleaned.partitions.iter().any(|name| name.starts_with("task_try")), "{cleaned:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn old_updates_of_assets_go_unless_a_dag_has_still_to_run_on_them(pool: PgPool) {
    let dag = Dag::new("d").schedule(Schedule::all_assets(["orders", "views"]));
    dag.task("only", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool.clone(), vec![dag]).await;
    world.unpause("d").await;
    for statement in [
        "insert into asset_event (asset, happened_at) values ('orders', now() - interval '40 days'),
             ('views', now() - interval '40 days'), ('orders', now())",
        "insert into asset_queue (dag_id, asset, event_id)
         select 'd', asset, event_id from asset_event where asset = 'orders'",
        "insert into signal (key, payload, posted_at) values ('old', '1', now() - interval '40 days'), ('new', '1', now())",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let mut conn = pool.acquire().await.unwrap();
    let cleaned = retention::clean(&mut conn, world.now().await - TimeDelta::days(30)).await.unwrap();
    assert_eq!(cleaned.rows, 2);
    assert_eq!(one(&pool, "select count(*) from asset_event where asset = 'orders'").await, 2);
    assert_eq!(one(&pool, "select count(*) from signal where key = 'new'").await, 1);
}
