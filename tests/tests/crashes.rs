//! The same job while its programs are killed: nothing is lost, nothing is there twice, and the run finishes.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::time::Duration;

use tests::{DAG, World};

#[tokio::test]
async fn a_killed_program_loses_nothing() {
    let mut world = World::start("crashes").await.unwrap();
    let standalone = world.standalone().await.unwrap();
    let worker = world.worker().await.unwrap();

    // The worker dies while it reads and commits.
    let first = world.produce(2_000, "0.02").await.unwrap();
    world.committed(1).await.unwrap();
    worker.kill().await;
    let second = world.produce(500, "0").await.unwrap();
    let worker = world.worker().await.unwrap();
    let committed = world.committed(first + second).await.unwrap();
    assert_eq!(committed.read, first + second, "a record was read twice, or never");

    // The orchestrator dies in the middle of the run; another one finishes it.
    let run = world.trigger(DAG).await.unwrap();
    tokio::time::timeout(tests::PATIENCE, some_task_has_succeeded(&world, &run)).await.unwrap();
    standalone.kill().await;
    let standalone = world.standalone().await.unwrap();
    world.run_ends(DAG, &run, "success").await.unwrap();
    assert_eq!(world.rows("staging_streamcommerce", "").await.unwrap(), committed.valid);
    assert_eq!(world.rows("prod_streamcommerce", "fact_").await.unwrap(), committed.valid);

    // Postgres is away for ten seconds in the middle of another run; the server says so, and the run finishes.
    let run = world.trigger(DAG).await.unwrap();
    tokio::time::timeout(tests::PATIENCE, some_task_has_succeeded(&world, &run)).await.unwrap();
    let health = format!("{}/api/v2/monitor/health", world.stack.web());
    let stack = world.stack.crash_postgres(async || {
        let health: serde_json::Value = reqwest::get(&health).await.unwrap().json().await.unwrap();
        assert_eq!(health["metadatabase"]["status"], "unhealthy");
        tokio::time::sleep(Duration::from_secs(10)).await;
    });
    world.stack = stack.await.unwrap();
    world.run_ends(DAG, &run, "success").await.unwrap();

    worker.stop(Duration::from_secs(10)).await;
    standalone.stop(Duration::from_secs(10)).await;
    world.stop().await;
}

async fn some_task_has_succeeded(world: &World, run: &str) {
    let path = format!("/dags/{DAG}/dagRuns/{}/taskInstances?state=success", run.replace('+', "%2B"));
    while world.get(&path).await.unwrap()["total_entries"] == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
