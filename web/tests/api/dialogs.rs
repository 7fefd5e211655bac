//! The dialogs: what they show before something is done is what happens, and the page after it tells what was done.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use orchestrator::prelude::*;
use serde_json::json;
use sqlx::PgPool;
use tower::ServiceExt;
use web::Access;

use crate::world::{HOSTILE, World, request};

/// Each row of a preview: the task, its state, and what it would be then.
fn rows(page: &str) -> Vec<String> {
    let rows = page.split("<tr>").skip(2);
    let text = |row: &str| {
        let mut texts = row.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text.trim());
        texts.by_ref().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" | ")
    };
    rows.map(text).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_mark_shows_everything_that_it_would_change(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::PATCH, "/dags/example", r#"{"is_paused": false}"#).await;
    let run = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    assert_eq!(world.call(Method::POST, "/dags/example/dagRuns", run).await.0, 200);
    assert_eq!(world.ends("mine").await["state"], "failed");

    let page = world.page("/dags/example/runs/mine/act/success?task=boom").await.1;
    let expected = ["boom | mine | failed | success", "after | mine | upstream failed | begins again"];
    assert_eq!(rows(&page), expected, "{page}");
    for state in ["success", "failed"] {
        let page = world.page(&format!("/dags/example/runs/mine/act/{state}")).await.1;
        assert!(
            page.contains("No task instance changes, the run itself does") && rows(&page).is_empty(),
            "all of it has ended: {page}"
        );
    }

    world.call(Method::PATCH, "/dags/example", r#"{"is_paused": true}"#).await;
    let run = r#"{"logical_date": null, "dag_run_id": "waits"}"#;
    assert_eq!(world.call(Method::POST, "/dags/example/dagRuns", run).await.0, 200);
    let page = world.page("/runs/chosen?deed=failed&run=example/waits&run=example/mine").await.1;
    assert!(page.contains("3 task instances will have failed or be skipped"), "{page}");
    let page = world.page("/runs/chosen?deed=delete&run=example/mine").await.1;
    assert!(page.contains("3 task instances will be gone with it"), "{page}");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_done_is_told_on_the_page_after_it(pool: PgPool) {
    let world = World::new(pool).await;
    let form = request(Method::POST, "/pools").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let made = world.router().oneshot(form.body(Body::from("name=narrow&slots=2")).unwrap()).await.unwrap();
    assert_eq!(made.status(), StatusCode::SEE_OTHER);
    let after = made.headers()[header::LOCATION].to_str().unwrap();
    assert_eq!(after, "/pools?told=made&of=narrow");
    assert!(world.page(after).await.1.contains("role=\"status\">narrow is made.</p>"));
    assert!(!world.page("/pools").await.1.contains("role=\"status\""));
    // Whoever writes an address writes no page.
    let of: String = HOSTILE.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let page = world.page(&format!("/pools?told=deleted&of={of}")).await.1;
    assert!(page.contains("is deleted.") && !page.contains(HOSTILE), "{page}");
    let long = "x".repeat(1_000);
    assert!(!world.page(&format!("/pools?told=deleted&of={long}")).await.1.contains("role=\"status\""));
    assert_eq!(world.page("/pools?told=hacked").await.0, StatusCode::OK);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_trigger_unpauses_if_that_is_ticked_and_it_is_not_refused(pool: PgPool) {
    let world = World::new(pool).await;
    let trigger = async |form: &str| {
        let post = request(Method::POST, "/dags/example/trigger");
        let post = post.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let status = world.send(post.body(Body::from(form.to_owned())).unwrap()).await.0;
        (status, world.get("/dags/example").await.1["is_paused"].as_bool().unwrap())
    };
    assert!(world.page("/dags/example/trigger").await.1.contains(r#"name="unpause""#));
    assert_eq!(trigger("conf=%5B%5D&run_id=one&unpause=true").await, (StatusCode::OK, true), "no conf is a list");
    assert_eq!(trigger("run_id=two").await, (StatusCode::SEE_OTHER, true));
    assert_eq!(trigger("run_id=three&unpause=true").await, (StatusCode::SEE_OTHER, false));
    assert!(!world.page("/dags/example/trigger").await.1.contains(r#"name="unpause""#));
}

#[sqlx::test(migrations = "../migrations")]
async fn conf_as_json_stands_in_for_the_fields_of_params(pool: PgPool) {
    #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    struct Settings {
        times: u32,
    }
    let dag = Dag::new("asks").params(Settings { times: 1 });
    dag.task("only", async |_: Context| TaskResult::Ok(()));
    let world = World::of(pool, Access::Loopback, vec![dag]).await;
    for (form, expected) in [
        ("param.=&param.times=2&conf=&run_id=fields", json!({ "times": 2 })),
        ("param.=&param.times=2&conf=%7B%22times%22%3A7%7D&run_id=conf", json!({ "times": 7 })),
    ] {
        let post = request(Method::POST, "/dags/asks/trigger");
        let post = post.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        assert_eq!(world.send(post.body(Body::from(form)).unwrap()).await.0, StatusCode::SEE_OTHER, "{form}");
        let run = form.rsplit('=').next().unwrap();
        assert_eq!(world.get(&format!("/dags/asks/dagRuns/{run}")).await.1["conf"], expected, "{form}");
    }
}
