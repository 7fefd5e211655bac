//! What is refused, and how: in Airflow's shape, and never as a fault of the server.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use web::Access;

use crate::world::{World, request};

#[sqlx::test(migrations = "../migrations")]
async fn what_is_not_there_is_refused_in_airflows_shape(pool: PgPool) {
    let world = World::new(pool).await;
    let wrong = json!({ "detail": "Method Not Allowed" });
    for path in ["/dags/example", "/version", "/dags/example/dagRuns/x/taskInstances/ok/logs/1"] {
        assert_eq!(world.call(Method::PUT, path, "{}").await, (405, wrong.clone()), "{path}");
    }
    for (method, path, expected) in [
        (Method::POST, "/connections/test", 403),
        (Method::POST, "/connections/enqueue-test", 403),
        (Method::POST, "/connections/defaults", 501),
        (Method::DELETE, "/dags/example/dagRuns/x/taskInstances/ok", 501),
        (Method::GET, "/dags/example/dagRuns/x/taskInstances/ok/externalLogUrl/1", 404),
        (Method::PUT, "/parseDagFile/x", 404),
    ] {
        let (status, refused) = world.call(method, path, "{}").await;
        assert_eq!(status, expected, "{path}: {refused}");
        // As Airflow says that it knows no such path.
        let text = &refused[if status == 404 { "error" } else { "detail" }];
        assert!(text.is_string(), "{path}: {refused}");
    }
    assert_eq!(world.call(Method::POST, "/connections/other", "{}").await, (405, wrong.clone()));
    let called_so = r#"{"connection_id": "test", "conn_type": "http"}"#;
    assert_eq!(world.call(Method::POST, "/connections", called_so).await.0, 201);
    assert_eq!(world.get("/connections/test").await.0, 200, "a connection that is called so");
    assert_eq!(world.call(Method::DELETE, "/connections/test", "").await.0, 204);
    let long = format!("{{\"key\": \"long\", \"value\": \"{}\"}}", "x".repeat(3 << 20));
    assert_eq!(
        world.call(Method::POST, "/variables", &long).await,
        (413, json!({ "detail": "Payload Too Large" })),
        "and nothing of it is kept"
    );
    assert_eq!(world.get("/variables/long").await.0, 404);
    assert_eq!(world.get("/dags?limit=1000").await.1["dags"].as_array().unwrap().len(), 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn no_page_is_longer_than_a_hundred(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let many = "insert into variable (key, sealed) select 'v' || n, ''::bytea from generate_series(1, 150) as n";
    sqlx::query(many).execute(&pool).await.unwrap();
    let (_, listed) = world.get("/variables?limit=1000").await;
    assert_eq!((listed["variables"].as_array().unwrap().len(), &listed["total_entries"]), (100, &json!(150)));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_postgres_cannot_hold_is_no_fault_of_the_server(pool: PgPool) {
    let world = World::new(pool).await;
    for date in ["-200000-01-01T00:00:00Z", "0000-01-01", "%2B12345-01-01T00:00:00Z"] {
        assert_eq!(world.get(&format!("/dags/~/dagRuns?run_after_gte={date}")).await.0, 422, "{date}");
    }
    let run = r#"{"logical_date": "0000-01-01T00:00:00Z"}"#;
    assert_eq!(world.call(Method::POST, "/dags/example/dagRuns", run).await.0, 422);
    let long = "x".repeat(5_000);
    for name in ["a\u{0}b", &long, ""] {
        let body = json!({ "username": name, "password": "whatever" }).to_string();
        let asked = request(Method::POST, "/auth/token").header(header::CONTENT_TYPE, "application/json");
        let (status, answer) = world.send(asked.body(Body::from(body)).unwrap()).await;
        assert_eq!((status, answer.as_str()), (StatusCode::UNAUTHORIZED, r#"{"detail":"Invalid credentials"}"#));
    }
    let form = request(Method::POST, "/login").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let (status, _) = world.send(form.body(Body::from("username=a%00b&password=c")).unwrap()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_remark_is_as_long_as_airflows_may_be(pool: PgPool) {
    let world = World::new(pool).await;
    let run = |note: String| json!({ "logical_date": null, "dag_run_id": "noted", "note": note }).to_string();
    let (status, refused) = world.call(Method::POST, "/dags/example/dagRuns", &run("é".repeat(1_001))).await;
    assert_eq!((status, &refused["detail"][0]["type"]), (422, &json!("string_too_long")), "{refused}");
    assert_eq!(world.call(Method::POST, "/dags/example/dagRuns", &run("é".repeat(1_000))).await.0, 200);
    let long = json!({ "state": "failed", "note": "x".repeat(1_001) }).to_string();
    assert_eq!(world.call(Method::PATCH, "/dags/example/dagRuns/noted", &long).await.0, 422);
    assert_eq!(world.get("/dags/example/dagRuns/noted").await.1["state"], "queued", "nothing of it was done");
    let clear =
        json!({ "dry_run": false, "dag_run_id": "noted", "task_ids": ["ok"], "only_failed": false, "note": "again" });
    let (status, cleared) = world.call(Method::POST, "/dags/example/clearTaskInstances", &clear.to_string()).await;
    assert_eq!((status, &cleared["task_instances"][0]["note"]), (200, &json!("again")), "{cleared}");
    let (_, other) = world.get("/dags/example/dagRuns/noted/taskInstances/boom").await;
    assert_eq!(other["note"], Value::Null, "that was not cleared");
}

#[sqlx::test(migrations = "../migrations")]
async fn browsers_are_told_what_pages_never_do(pool: PgPool) {
    let world = World::with(pool, Access::Users).await;
    for path in ["/login", "/", "/api/v2/version", "/static/style.css", "/nowhere"] {
        let answer =
            world.router().oneshot(Request::get(path).header("host", "localhost").body(Body::empty()).unwrap());
        let answer = answer.await.unwrap();
        let told = |name: header::HeaderName| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = told(header::CONTENT_SECURITY_POLICY);
        for rule in ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(
            [header::X_CONTENT_TYPE_OPTIONS, header::X_FRAME_OPTIONS, header::REFERRER_POLICY].map(told),
            ["nosniff", "DENY", "same-origin"],
            "{path}"
        );
    }
}
