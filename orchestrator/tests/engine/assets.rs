//! Assets: a task updates them, DAGs run for them, and no update is lost or counted twice.

use std::sync::Arc;

use orchestrator::{
    commands::{self, By, Refused},
    dag::Registry,
    prelude::*,
    scheduler::{register, remove_gone},
    state::{RunState, TaskState},
    worker::{Settings, Worker},
};
use serde_json::json;
use sqlx::{PgPool, Row};
use tokio_util::sync::CancellationToken;

use super::world::{PATIENCE, World};

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

async fn names(context: Context) -> TaskResult<Vec<String>> {
    let events = context.asset_events().await?;
    let source = |event: &orchestrator::store::assets::AssetEvent| {
        event.source_task_id.as_ref().map_or("outside".to_owned(), ToString::to_string)
    };
    Ok(events.iter().map(|event| format!("{} by {}", event.asset, source(event))).collect())
}

fn dags() -> Vec<Dag> {
    let maker = Dag::new("maker");
    let orders = maker.task("orders", nothing).outlet("orders");
    maker.chain(orders >> maker.task("customers", nothing).outlet("customers"));
    maker.task("failed", async |_: Context| -> TaskResult<()> { anyhow::bail!("no") }).outlet("broken");
    let all = Dag::new("all").schedule(Schedule::all_assets(["orders", "customers"]));
    all.task("names", names);
    let any = Dag::new("any").schedule(Schedule::any_asset(["orders", "broken"]));
    any.task("names", names);
    vec![maker, all, any]
}

async fn runs(world: &World, dag: &str) -> Vec<String> {
    sqlx::query("select run_id from dag_run where dag_id = $1 order by run_key")
        .bind(dag)
        .fetch_all(&world.pool)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.get(0))
        .collect()
}

async fn update(world: &World, asset: &str) -> Result<i64, Refused> {
    let mut conn = world.pool.acquire().await.unwrap();
    commands::update_asset(&mut conn, asset, &json!({ "rows": 5 }), &By::test()).await
}

#[sqlx::test(migrations = "../migrations")]
async fn dags_run_when_all_or_one_of_their_assets_were_updated(pool: PgPool) {
    let world = World::new(pool, dags()).await;
    for dag in ["all", "any"] {
        world.unpause(dag).await;
    }
    let run = world.start("maker").await;
    let worker = world.worker(Settings::default());
    assert_eq!(world.finished("maker", &run).await, RunState::Failed);
    world.pass().await;
    for dag in ["all", "any"] {
        let made = runs(&world, dag).await;
        assert!(!made.is_empty() && made.iter().all(|run| run.starts_with("asset_triggered__")), "{dag}: {made:?}");
        assert_eq!(world.finished(dag, &made[0].as_str().into()).await, RunState::Success);
    }
    let [first] = &runs(&world, "all").await[..] else { panic!("one run for both") };
    let told = world.results("all", &first.as_str().into(), "names").await;
    assert_eq!(told, [json!(["orders by orders", "customers by customers"])]);
    let [first] = &runs(&world, "any").await[..] else { panic!("what failed has updated nothing") };
    assert_eq!(world.results("any", &first.as_str().into(), "names").await, [json!(["orders by orders"])]);
    // One of two is not enough, and twice the same is not two.
    for _ in 0..2 {
        update(&world, "orders").await.unwrap();
    }
    world.pass().await;
    assert_eq!(runs(&world, "all").await.len(), 1);
    assert_eq!(runs(&world, "any").await.len(), 2, "both updates are one run's");
    update(&world, "customers").await.unwrap();
    world.pass().await;
    let second = runs(&world, "all").await[1].as_str().into();
    assert_eq!(world.finished("all", &second).await, RunState::Success);
    let told = world.results("all", &second, "names").await;
    assert_eq!(told, [json!(["orders by outside", "orders by outside", "customers by outside"])]);
    worker.stop().await;
    assert!(matches!(update(&world, "nobody's").await, Err(Refused::NoAsset(_))));
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_paused_dag_misses_updates_and_two_schedulers_make_one_run(pool: PgPool) {
    let world = World::new(pool, dags()).await;
    update(&world, "orders").await.unwrap();
    world.unpause("any").await;
    world.pass().await;
    assert!(runs(&world, "any").await.is_empty(), "it was paused then");
    update(&world, "orders").await.unwrap();
    assert_eq!(four_passes(&world).await, 1);
    assert_eq!(runs(&world, "any").await.len(), 1);
    assert_eq!(world.count("any", TaskState::Success).await, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn nothing_is_kept_for_a_dag_that_nobody_has_any_more(pool: PgPool) {
    let world = World::new(pool, dags()).await;
    for dag in ["any", "all"] {
        world.unpause(dag).await;
    }
    update(&world, "customers").await.unwrap();
    let after = Registry::build(dags().into_iter().filter(|dag| dag.dag_id().as_str() != "all").collect()).unwrap();
    let (pool, graphs, wake) = (world.pool.clone(), world.graphs.clone(), world.wake.clone());
    let after = Arc::new(after);
    let stop = CancellationToken::new();
    let worker = Worker::new(pool, Arc::clone(&after), graphs, wake, Settings::default());
    let worker = tokio::spawn(worker.run(stop.clone()));
    let queued = async || {
        let rows = sqlx::query("select dag_id, asset from asset_queue order by event_id").fetch_all(&world.pool);
        rows.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(String, String)>>()
    };
    assert_eq!(queued().await, [("all".to_owned(), "customers".to_owned())]);
    let mut conn = world.pool.acquire().await.unwrap();
    let gone = tokio::time::timeout(PATIENCE, async {
        while !queued().await.is_empty() {
            remove_gone(&mut conn, &after, &world.graphs).await.unwrap();
        }
    });
    gone.await.expect("it is kept");
    update(&world, "orders").await.unwrap();
    assert_eq!(queued().await, [("any".to_owned(), "orders".to_owned())]);
    // When it is back, it waits again.
    register(&mut conn, &world.registry).await.unwrap();
    update(&world, "customers").await.unwrap();
    assert_eq!(queued().await.last(), Some(&("all".to_owned(), "customers".to_owned())));
    stop.cancel();
    worker.await.unwrap();
}

/// How many runs four passes at once make.
async fn four_passes(world: &World) -> u64 {
    let passes = (0..4).map(|_| Box::pin(world.pass()));
    futures::future::join_all(passes).await.iter().map(|pass| pass.created).sum()
}
