//! Whatever people call things: it is text on every page.

use axum::http::{Method, StatusCode};
use orchestrator::prelude::*;
use serde_json::json;
use sqlx::PgPool;

use crate::world::{HOSTILE, World};

async fn chatty(_: Context) -> TaskResult<()> {
    tracing::info!("{HOSTILE}");
    Ok(())
}

fn dag() -> Dag {
    let dag = Dag::new("hostile").description(HOSTILE).tag(HOSTILE).owner(HOSTILE).source(HOSTILE);
    dag.task("chatty", chatty).outlet(HOSTILE);
    dag
}

#[sqlx::test(migrations = "../migrations")]
async fn no_name_is_markup(pool: PgPool) {
    let world = World::of(pool, web::Access::Loopback, vec![dag()]).await;
    world.call(Method::PATCH, "/dags/hostile", r#"{"is_paused": false}"#).await;
    let run = json!({ "dag_run_id": "hostile", "logical_date": null, "note": HOSTILE, "conf": { HOSTILE: HOSTILE } });
    let made = [
        ("/dags/hostile/dagRuns", run),
        ("/pools", json!({ "name": HOSTILE, "slots": 1, "description": HOSTILE })),
        ("/variables", json!({ "key": "hostile", "value": HOSTILE, "description": HOSTILE })),
        (
            "/connections",
            json!({ "connection_id": "hostile", "conn_type": HOSTILE, "host": HOSTILE, "login": HOSTILE }),
        ),
    ];
    for (path, body) in made {
        let (status, answer) = world.call(Method::POST, path, &body.to_string()).await;
        assert!(status < 300, "{path}: {status} {answer}");
    }
    let part = "hostile";
    world.ends_of("hostile", part).await;
    let run = format!("/dags/hostile/runs/{part}");
    let of_run = ["", "?view=gantt", "?view=graph", "/act/clear", "/act/failed", "/tasks/chatty"];
    let of_task = ["?view=values", "?view=tries", "?view=details", "?q=script"];
    let of_dag =
        ["", "/graph", "/runs", "/tasks", "/calendar", "/code", "/versions", "/details", "/trigger", "/backfills"];
    let pages =
        ["/", "/dags", "/runs", "/tasks", "/assets", "/assets/1", "/pools", "/variables", "/connections", "/audit"];
    let pages = pages.iter().map(ToString::to_string);
    let pages = pages.chain(of_run.iter().map(|end| format!("{run}{end}")));
    let pages = pages.chain(of_task.iter().map(|end| format!("{run}/tasks/chatty{end}")));
    let pages = pages.chain(of_dag.iter().map(|end| format!("/dags/hostile{end}")));
    let mut told = 0;
    for path in pages {
        let (status, page) = world.page(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!page.contains("<script>alert"), "{path}: {page}");
        told += usize::from(page.contains("alert("));
    }
    assert!(told > 15, "what is hostile is on these pages, as text: {told}");
}
