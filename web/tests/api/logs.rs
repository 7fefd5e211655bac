//! The log of a try while it runs, and what a try tells beside it.

use std::time::Duration;

use axum::{body::Body, http::Method};
use futures::StreamExt;
use orchestrator::{
    ids::InstanceKey,
    prelude::*,
    store,
    task_log::{self, LogLine, LogOf},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use web::Access;

use crate::world::{World, request};

static MAY_END: Semaphore = Semaphore::const_new(0);

async fn held(_: Context) -> TaskResult<()> {
    MAY_END.acquire().await?.forget();
    anyhow::bail!("said at the end")
}

async fn said(pool: &PgPool, message: &str) {
    let mut conn = pool.acquire().await.unwrap();
    let select = "select t.instance_key, r.run_day from task_instance t join dag_run r using (run_key) where t.state = 'running'";
    let (instance, run_day) = loop {
        match sqlx::query_as(select).fetch_optional(&mut *conn).await.unwrap() {
            Some(found) => break found,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let line =
        LogLine { at: chrono::Utc::now(), level: "INFO", logger: "test".to_owned(), message: message.to_owned() };
    let of = LogOf { instance: InstanceKey(instance), try_number: 1, run_day };
    store::logs::append(&mut conn, &[(of, line)]).await.unwrap();
}

/// The texts of the lines of a chunk.
fn events(chunk: &[u8]) -> Vec<String> {
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"].as_str().unwrap().to_owned();
    text.lines().map(event).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn lines_of_json_go_on_until_the_try_has_ended(pool: PgPool) {
    let dag = Dag::new("held");
    dag.task("held", held);
    let world = World::of(pool.clone(), Access::Loopback, vec![dag]).await;
    world.call(Method::PATCH, "/dags/held", r#"{"is_paused": false}"#).await;
    world.call(Method::POST, "/dags/held/dagRuns", r#"{"logical_date": null, "dag_run_id": "one"}"#).await;
    said(&pool, "first").await;

    let path = "/api/v2/dags/held/dagRuns/one/taskInstances/held/logs/1";
    let ask = || request(Method::GET, path).header("accept", "application/x-ndjson").body(Body::empty()).unwrap();
    let answer = world.router().oneshot(ask()).await.unwrap();
    let mut chunks = answer.into_body().into_data_stream();
    assert_eq!(events(&chunks.next().await.unwrap().unwrap()), ["first"]);
    said(&pool, "second").await;
    assert_eq!(events(&chunks.next().await.unwrap().unwrap()), ["second"], "while it runs");
    MAY_END.add_permits(1);
    let rest: Vec<_> = chunks.map(|chunk| events(&chunk.unwrap())).collect().await;
    assert!(rest.concat().iter().any(|line| line.contains("said at the end")), "{rest:?}");

    world.ends_of("held", "one").await;
    let (status, whole) = world.send(ask()).await;
    assert_eq!((status.as_u16(), events(whole.as_bytes())[..2].concat()), (200, "firstsecond".to_owned()));
    assert!(whole.contains("said at the end"));

    let text = request(Method::GET, path).header("accept", "text/plain").body(Body::empty()).unwrap();
    let (status, text) = world.send(text).await;
    let first = text.lines().next().unwrap_or_default();
    assert!(status.is_success() && first.ends_with("Z INFO  first"), "{text}");
    assert_eq!(text.lines().count(), whole.lines().count());
    let (_, all) = world.get(&format!("{}?full_content=true", path.trim_start_matches("/api/v2"))).await;
    assert_eq!(all["content"].as_array().unwrap().len(), whole.lines().count());
    let picture = request(Method::GET, path).header("accept", "image/png").body(Body::empty()).unwrap();
    assert_eq!(world.send(picture).await.0.as_u16(), 406);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_long_log_comes_in_parts_or_whole(pool: PgPool) {
    let dag = Dag::new("short");
    dag.task("short", async |_: Context| TaskResult::Ok(()));
    let world = World::of(pool.clone(), Access::Loopback, vec![dag]).await;
    world.call(Method::PATCH, "/dags/short", r#"{"is_paused": false}"#).await;
    world.call(Method::POST, "/dags/short/dagRuns", r#"{"logical_date": null, "dag_run_id": "one"}"#).await;
    world.ends_of("short", "one").await;
    let lines = "insert into task_log (instance_key, try_number, run_day, logged_at, level, logger, message)
                 select t.instance_key, 1, r.run_day, now(), 'INFO', 'test', 'line ' || n
                 from task_instance t join dag_run r using (run_key), generate_series(1, 10500) as n";
    sqlx::query(lines).execute(&pool).await.unwrap();
    let path = "/dags/short/dagRuns/one/taskInstances/short/logs/1";
    let (_, part) = world.get(path).await;
    let token = part["continuation_token"].as_str().unwrap();
    let (_, rest) = world.get(&format!("{path}?token={token}")).await;
    let count = |log: &Value| log["content"].as_array().unwrap().len();
    assert_eq!((count(&part), rest["continuation_token"].as_str()), (10_000, None));
    let (_, whole) = world.get(&format!("{path}?full_content=true")).await;
    assert_eq!((count(&whole), whole["continuation_token"].as_str()), (10_000 + count(&rest), None));
}

const SECRET: &str = r#"pa"ss<b>word"#;

async fn telling(context: Context) -> TaskResult<()> {
    task_log::mask(SECRET);
    context.link("job", "https://example.org/job/1");
    context.link("job", "https://example.org/job/2");
    context.link("evil", "javascript:alert(1)");
    context.rendered("query", &format!("select '{SECRET}', '<i>'"));
    context.rendered("huge", &"x\"".repeat(100_000));
    assert_eq!(context.render("nothing to render").await?, "nothing to render");
    assert_eq!(context.render("of {{ run_id }}").await?, "of one");
    anyhow::bail!("the end")
}

#[sqlx::test(migrations = "../migrations")]
async fn links_and_rendered_values_stand_beside_the_log(pool: PgPool) {
    let dag = Dag::new("telling");
    dag.task("tell", telling);
    let world = World::of(pool, Access::Loopback, vec![dag]).await;
    world.call(Method::PATCH, "/dags/telling", r#"{"is_paused": false}"#).await;
    world.call(Method::POST, "/dags/telling/dagRuns", r#"{"logical_date": null, "dag_run_id": "one"}"#).await;
    world.ends_of("telling", "one").await;
    let path = "/dags/telling/dagRuns/one/taskInstances/tell";
    // Lines are written beside the outcome.
    let whole = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let (_, log) = world.get(&format!("{path}/logs/1")).await;
            if log.to_string().contains("the end") {
                break log;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let log = whole.await.unwrap();
    assert!(!log.to_string().contains("example.org") && !log.to_string().contains("select"), "{log}");

    let (_, links) = world.get(&format!("{path}/links")).await;
    let expected = json!({ "job": "https://example.org/job/2", "evil": "javascript:alert(1)" });
    assert_eq!(links, json!({ "extra_links": expected, "total_entries": 2 }));
    let (_, instance) = world.get(path).await;
    let fields = instance["rendered_fields"].as_object().unwrap();
    assert_eq!((&fields["query"], &fields["of {{ run_id }}"]), (&json!("select '***', '<i>'"), &json!("of one")));
    assert_eq!((fields.len(), fields["huge"].as_str().unwrap().chars().count()), (3, 10_001));

    let (_, page) = world.page("/dags/telling/runs/one/tasks/tell?view=values").await;
    assert!(page.contains(r#"<a href="https://example.org/job/2" rel="noopener noreferrer""#));
    assert!(page.contains("select &#39;***&#39;, &#39;&#60;i&#62;&#39;") && !page.contains("javascript:"));
}
