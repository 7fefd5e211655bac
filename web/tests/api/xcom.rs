//! What tasks returned.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

#[sqlx::test(migrations = "../migrations")]
async fn values_are_shown_written_and_taken_away(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.call(Method::PATCH, "/dags/typed", r#"{"is_paused": false}"#).await;
    let run = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    world.call(Method::POST, "/dags/typed/dagRuns", run).await;
    world.ends_of("typed", "mine").await;
    let entries = "/dags/typed/dagRuns/mine/taskInstances/extract/xcomEntries";
    let of = |key: &str| format!("{entries}/{key}");

    let (status, list) = world.get(entries).await;
    assert_eq!((status, &list["total_entries"]), (200, &json!(1)), "{list}");
    let entry = &list["xcom_entries"][0];
    assert_eq!(
        (&entry["key"], &entry["task_id"], &entry["run_id"], &entry["map_index"]),
        (&json!("return_value"), &json!("extract"), &json!("mine"), &json!(-1))
    );
    assert!(entry.get("value").is_none(), "a list has no values: {entry}");
    assert_eq!(world.get(&of("return_value")).await.1["value"], json!({ "rows": 3 }));
    assert_eq!(world.get(&of("return_value?stringify=true")).await.1["value"], "{\"rows\":3}");
    let (_, all) = world.get("/dags/~/dagRuns/~/taskInstances/~/xcomEntries?xcom_key=return_value").await;
    assert_eq!(all["total_entries"], 1);

    let made = json!({ "key": "mine", "value": [1, null] }).to_string();
    let (status, shown) = world.call(Method::POST, entries, &made).await;
    assert_eq!((status, &shown["value"]), (201, &json!([1, null])), "{shown}");
    assert_eq!(world.call(Method::POST, entries, &made).await.0, 409);
    let (status, shown) = world.call(Method::PATCH, &of("mine"), r#"{"value": "new"}"#).await;
    assert_eq!((status, &shown["value"]), (200, &json!("new")));
    assert_eq!(world.get(&of("mine")).await.1["value"], "new");
    assert_eq!(world.call(Method::DELETE, &of("mine"), "").await.0, 204);
    for (method, path) in [(Method::GET, of("mine")), (Method::DELETE, of("mine"))] {
        let (status, answer) = world.call(method, &path, "").await;
        assert_eq!((status, &answer["detail"]), (404, &json!("XCom entry with key: `mine` not found")));
    }
    let of_none = "/dags/typed/dagRuns/mine/taskInstances/none/xcomEntries";
    assert_eq!(world.call(Method::POST, of_none, &made).await.0, 404);
    assert_eq!(world.call(Method::POST, entries, r#"{"key": "x"}"#).await.0, 422);
    let done = "select count(*) from event where event in ('put_xcom_entry', 'delete_xcom_entry') and run_id = 'mine'";
    let done = sqlx::query_scalar::<_, i64>(done).fetch_one(&pool).await.unwrap();
    assert_eq!(done, 3, "who changes a value is written down");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_value_in_an_unknown_bucket_is_said_to_be_there(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.call(Method::POST, "/dags/typed/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#).await;
    let big = "insert into xcom (run_day, run_key, task_id, key, value, object)
               select run_day, run_key, 'extract', 'return_value', 'null', '_xcom/1.json' from dag_run";
    sqlx::query(big).execute(&pool).await.unwrap();
    let (status, answer): (u16, Value) =
        world.get("/dags/typed/dagRuns/mine/taskInstances/extract/xcomEntries/return_value").await;
    assert_eq!(status, 501, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("_xcom/1.json"), "{answer}");
}
