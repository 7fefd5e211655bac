//! Runs and DAGs are deleted, cleared whole, and waited for.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{World, request};

async fn trigger(world: &World, dag: &str, run: &str) {
    let body = json!({ "logical_date": null, "dag_run_id": run }).to_string();
    let (status, made) = world.call(Method::POST, &format!("/dags/{dag}/dagRuns"), &body).await;
    assert_eq!(status, 200, "{made}");
}

#[sqlx::test(migrations = "../migrations")]
async fn runs_and_dags_are_deleted_when_they_are_at_rest(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    // Its DAG is paused: it waits.
    trigger(&world, "typed", "waits").await;
    assert_eq!(world.call(Method::DELETE, "/dags/typed", "").await.0, 409);
    assert_eq!(world.call(Method::DELETE, "/dags/typed/dagRuns/waits", "").await.0, 204);
    assert_eq!(world.call(Method::DELETE, "/dags/typed/dagRuns/waits", "").await.0, 404);

    world.call(Method::PATCH, "/dags/typed", r#"{"is_paused": false}"#).await;
    trigger(&world, "typed", "ended").await;
    world.ends_of("typed", "ended").await;
    sqlx::query("update dag_run set state = 'running', end_date = null").execute(&pool).await.unwrap();
    let (status, answer) = world.call(Method::DELETE, "/dags/typed/dagRuns/ended", "").await;
    assert_eq!(status, 409);
    assert!(answer["detail"].as_str().unwrap().contains("cannot be deleted in running state"), "{answer}");
    sqlx::query("update dag_run set state = 'success', end_date = now()").execute(&pool).await.unwrap();
    let (status, answer) = world.call(Method::DELETE, "/dags/typed", "").await;
    assert_eq!((status, &answer["detail"]), (200, &json!("Dag with id: typed was deleted")));
    assert_eq!(world.get("/dags/typed").await.0, 404);
    assert_eq!(world.call(Method::DELETE, "/dags/typed", "").await.0, 404);
    for table in ["dag_run", "task_instance", "run_node"] {
        let left = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(format!("select count(*) from {table}")));
        assert_eq!(left.fetch_one(&pool).await.unwrap(), 0, "{table}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_page_deletes_a_dag_and_says_before_what_goes_with_it(pool: PgPool) {
    let world = World::new(pool).await;
    trigger(&world, "typed", "waits").await;
    let (status, page) = world.page("/dags/typed/delete").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("It can be deleted when its") && page.contains("Its run goes with it"), "{page}");
    let delete = async || {
        let post =
            request(Method::POST, "/dags/typed/delete").header("content-type", "application/x-www-form-urlencoded");
        world.send(post.body(Body::empty()).unwrap()).await.0
    };
    assert_eq!(delete().await, StatusCode::CONFLICT);
    world.call(Method::DELETE, "/dags/typed/dagRuns/waits", "").await;
    let (_, page) = world.page("/dags/typed/delete").await;
    assert!(page.contains("It has no runs.") && page.contains(">Delete typed</button>"), "{page}");
    assert_eq!(delete().await, StatusCode::SEE_OTHER);
    assert_eq!(world.page("/dags/typed/delete").await.0, StatusCode::NOT_FOUND);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_is_cleared_whole(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::PATCH, "/dags/example", r#"{"is_paused": false}"#).await;
    trigger(&world, "example", "mine").await;
    world.ends("mine").await;
    let clear = async |body: &str| world.call(Method::POST, "/dags/example/dagRuns/mine/clear", body).await;
    let (status, shown) = clear("{}").await;
    assert_eq!((status, &shown["total_entries"]), (200, &json!(3)), "it is a dry run: {shown}");
    assert_eq!(clear(r#"{"only_failed": true}"#).await.1["total_entries"], 2);
    let (status, run) = clear(r#"{"dry_run": false, "note": "again"}"#).await;
    assert_eq!((status, &run["dag_run_id"], &run["note"]), (200, &json!("mine"), &json!("again")), "{run}");
    world.ends("mine").await;
    let (_, tries) = world.get("/dags/example/dagRuns/mine/taskInstances/ok/tries").await;
    assert_eq!(tries["total_entries"], 2);
    let one = "/dags/example/dagRuns/mine/taskInstances/ok/tries/1";
    assert_eq!(world.get(one).await.1, tries["task_instances"][0]);
    assert_eq!(world.get("/dags/example/dagRuns/mine/taskInstances/ok/tries/7").await.0, 404);
    assert_eq!(clear(r#"{"only_new": true}"#).await.0, 400);
    assert_eq!(world.call(Method::POST, "/dags/example/dagRuns/none/clear", "{}").await.0, 404);
}

#[sqlx::test(migrations = "../migrations")]
async fn somebody_waits_for_a_run(pool: PgPool) {
    let world = World::new(pool).await;
    trigger(&world, "typed", "mine").await;
    let wait = "/api/v2/dags/typed/dagRuns/mine/wait?interval=0.01&result=extract";
    let waits = world.send(request(Method::GET, wait).body(Body::empty()).unwrap());
    let unpause = async {
        let (status, _) = world.call(Method::PATCH, "/dags/typed", r#"{"is_paused": false}"#).await;
        assert_eq!(status, 200);
    };
    let ((status, text), ()) = tokio::join!(waits, unpause);
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({ "state": "queued" }));
    assert_eq!(lines.last().unwrap(), &json!({ "state": "success", "results": { "extract": { "rows": 3 } } }));
    for (query, status) in [("", 422), ("?interval=0", 422), ("?interval=soon", 422)] {
        assert_eq!(world.get(&format!("/dags/typed/dagRuns/mine/wait{query}")).await.0, status, "{query}");
    }
    assert_eq!(world.get("/dags/typed/dagRuns/none/wait?interval=1").await.0, 404);
}
