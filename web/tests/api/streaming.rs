//! The streaming workers tell how they are, and a page shows it.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{HOSTILE, World};

fn report(worker: &str, records: u64, lag: i64) -> Value {
    json!({
        "worker": worker, "app": HOSTILE, "epoch": 1, "is_ready": true, "has_stopped": false,
        "topics": [{
            "topic": "views", "records": records, "rows": records, "tombstones": 0, "dead_letters": 3, "bytes": 1_500_000,
            "files": 2,
        }],
        "partitions": [{ "topic": "views", "partition": 7, "lag_records": lag, "lag_secs": 61.0 }],
        "commits": 2, "lost_commits": 0, "held_bytes": 0, "budget_bytes": 1000, "open_files": 1,
        "dead_letter_share": 0.25, "is_alarmed": false,
        "letters": [{
            "topic": "views", "partition": 7, "offset": 41, "code": "wrong_type", "message": HOSTILE, "excerpt": HOSTILE,
        }],
    })
}

#[sqlx::test(migrations = "../migrations")]
async fn a_page_shows_what_the_workers_tell(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let page = async || world.page("/streaming").await.1;
    assert!(page().await.contains("No streaming worker has told how it is"));
    assert!(!world.page("/").await.1.contains("href=\"/streaming\">Streaming</a></section>"));
    let told = async |report: Value| {
        let request = crate::world::request(Method::POST, "/api/streaming/reports");
        let request = request.header("content-type", "application/json").body(report.to_string().into()).unwrap();
        world.send(request).await.0.as_u16()
    };
    assert_eq!((told(report("one", 1_234_567, 4_000)).await, told(report("two", 1_000, 321)).await), (201, 201));
    let shown = page().await;
    for text in ["1,235,567", "4,321 records", "1 min 1 s", "views 7/41", "wrong type", "3.0 MB", "one", "two"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(!shown.contains(HOSTILE) && !shown.contains("role=\"alert\""), "{shown}");
    let home = world.page("/").await.1;
    assert!(home.contains("4,321") && !home.contains("dead letters"), "{home}");

    // What somebody should look after stands on the page and at home.
    let mut alarmed = report("one", 1_234_600, 0);
    alarmed["is_alarmed"] = json!(true);
    assert_eq!(told(alarmed).await, 201);
    sqlx::query("update streaming_worker set seen_at = now() - interval '5 minutes' where worker = 'two'")
        .execute(&pool)
        .await
        .unwrap();
    for path in ["/", "/streaming"] {
        let shown = world.page(path).await.1;
        assert!(shown.contains("reads too many dead letters: 25.0 % lately"), "{shown}");
        assert!(shown.contains("has not been heard of for 5 min"), "{shown}");
    }

    // A report that is none changes nothing, and numbers that cannot be are no reason to fall over.
    let with = |key: &str, value: Value| {
        let mut changed = report("one", 1, 1);
        changed[key] = value;
        changed
    };
    for wrong in [
        json!({}),
        with("worker", json!("")),
        with("epoch", json!(-1)),
        with("held_bytes", json!(i64::MIN)),
        report("one", 1, i64::MIN),
    ] {
        assert_eq!(told(wrong.clone()).await, 422, "{wrong}");
    }
    assert_eq!(told(with("colour", json!("red"))).await, 201, "a newer worker may tell more");
    let unreadable = r#"update streaming_worker set report = '{"commits": "many"}' where worker = 'one'"#;
    sqlx::query(unreadable).execute(&pool).await.unwrap();
    assert_eq!(told(report("two", 1, 77)).await, 201);
    assert!(page().await.contains("77 records"), "one that cannot be read does not hide the others");
    assert_eq!(
        (told(report("one", u64::MAX, i64::MAX)).await, told(report("two", u64::MAX, i64::MAX)).await),
        (201, 201)
    );
    assert!(page().await.contains("9,223,372,036,854,775,807 records"));
}
