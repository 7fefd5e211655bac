//! Assets through the API.

use axum::http::Method;
use serde_json::json;
use sqlx::PgPool;

use crate::world::World;

#[sqlx::test(migrations = "../migrations")]
async fn an_update_from_outside_makes_a_run(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, assets) = world.get("/assets?name_pattern=ORD").await;
    let asset = &assets["assets"][0];
    assert_eq!(
        (&asset["name"], &asset["scheduled_dags"][0]["dag_id"], &asset["producing_tasks"][0]["task_id"]),
        (&json!("orders"), &json!("consumer"), &json!("extract")),
        "{assets}"
    );
    assert_eq!((&asset["last_asset_event"], &asset["aliases"]), (&json!(null), &json!([])));
    let id = &asset["id"];
    assert_eq!(&world.get(&format!("/assets/{id}")).await.1, asset);
    for (query, total) in [("dag_ids=consumer", 1), ("dag_ids=typed", 1), ("dag_ids=example", 0)] {
        assert_eq!(world.get(&format!("/assets?{query}")).await.1["total_entries"], total, "{query}");
    }

    // A paused DAG does not count what happens meanwhile.
    world.call(Method::PATCH, "/dags/consumer", r#"{"is_paused": false}"#).await;
    let body = json!({ "asset_id": id, "extra": { "file": "x" } }).to_string();
    let (status, event) = world.call(Method::POST, "/assets/events", &body).await;
    assert_eq!((status, &event["extra"]), (200, &json!({ "file": "x", "from_rest_api": true })), "{event}");
    let made = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            let (_, events) = world.get("/assets/events").await;
            if let Some(run) = events["asset_events"][0]["created_dagruns"][0]["run_id"].as_str() {
                return run.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    let run = made.await.unwrap();
    assert_eq!(world.ends_of("consumer", &run).await["run_type"], "asset_triggered");
    for (query, total) in [("RDER", 1), ("ord_rs", 0), ("%25", 0), ("typed", 0)] {
        let (_, runs) = world.get(&format!("/dags/~/dagRuns?consuming_asset_pattern={query}")).await;
        assert_eq!(runs["total_entries"], total, "{query}");
    }
    let run = run.replace('+', "%2B");
    let (_, upstream) = world.get(&format!("/dags/consumer/dagRuns/{run}/upstreamAssetEvents")).await;
    assert_eq!((&upstream["total_entries"], &upstream["asset_events"][0]["id"]), (&json!(1), &event["id"]));
    let (_, page) = world.page(&format!("/dags/consumer/runs/{run}")).await;
    assert!(page.contains("Made by an update") && page.contains(&format!("href=\"/assets/{id}\"")), "{page}");
    assert_eq!(world.get(&format!("/assets/{id}")).await.1["last_asset_event"]["id"], event["id"]);
    assert_eq!(world.get("/assets/events?source_dag_id=typed").await.1["total_entries"], 0);
    assert_eq!(world.call(Method::POST, "/assets/events", r#"{"asset_id": 999}"#).await.0, 404);
    assert_eq!(world.get("/assets/999").await.0, 404);
    assert_eq!(world.get("/assets/aliases").await.1["total_entries"], 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_dag_has_not_run_for_is_listed_and_forgotten(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let (_, assets) = world.get("/assets").await;
    let id = &assets["assets"][0]["id"];
    assert_eq!(world.get("/dags/consumer/assets/queuedEvents").await.0, 404);
    // The scheduler would take it at once: an update of which it does not know yet.
    let queue = "with made as (insert into asset_event (asset) values ('orders') returning event_id)
                 insert into asset_queue (dag_id, event_id, asset) select 'consumer', event_id, 'orders' from made";
    sqlx::query(queue).execute(&pool).await.unwrap();
    let (status, queued) = world.get("/dags/consumer/assets/queuedEvents").await;
    assert_eq!((status, &queued["queued_events"][0]["asset_id"]), (200, id), "{queued}");
    assert_eq!(world.get(&format!("/assets/{id}/queuedEvents")).await.1["total_entries"], 1);
    let one = format!("/dags/consumer/assets/{id}/queuedEvents");
    assert_eq!(world.get(&one).await.1["dag_id"], "consumer");
    for (before, status) in [("2001-01-01T00:00:00Z", 404), ("2101-01-01T00:00:00Z", 200), ("soon", 422)] {
        assert_eq!(world.get(&format!("{one}?before={before}")).await.0, status, "before {before}");
    }
    let none = format!("{one}?before=2001-01-01T00:00:00Z");
    assert_eq!(world.call(Method::DELETE, &none, "").await.0, 404, "what is later stays");
    assert_eq!(world.call(Method::DELETE, &one, "").await.0, 204);
    assert_eq!(world.call(Method::DELETE, &one, "").await.0, 404);
}

#[sqlx::test(migrations = "../migrations")]
async fn an_asset_is_materialized_by_the_dag_that_makes_it(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, assets) = world.get("/assets").await;
    let path = format!("/assets/{}/materialize", assets["assets"][0]["id"]);
    let (status, run) = world.call(Method::POST, &path, "").await;
    assert_eq!((status, &run["dag_id"], &run["state"]), (200, &json!("typed"), &json!("queued")), "{run}");
    let (status, run) = world.call(Method::POST, &path, r#"{"dag_run_id": "mine", "conf": {"a": 1}}"#).await;
    assert_eq!((status, &run["dag_run_id"]), (200, &json!("mine")), "{run}");
    assert_eq!(world.call(Method::POST, "/assets/999/materialize", "").await.0, 404);
}
