//! Why a run or a task does not go on, on its page and for clients.

use axum::http::Method;
use orchestrator::prelude::*;
use serde_json::json;
use sqlx::PgPool;

use crate::world::World;

async fn for_ever(_: Context) -> TaskResult<()> {
    std::future::pending().await
}

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

fn dags() -> Vec<Dag> {
    let busy = Dag::new("busy").max_active_runs(1);
    let hold = busy.task("hold", for_ever).pool("narrow");
    busy.task("rival", nothing).pool("narrow").priority_weight(0);
    busy.chain(hold >> busy.task("after", nothing).trigger_rule(TriggerRule::AllDone));
    let stuck = Dag::new("stuck").max_active_runs(9);
    for task in ["first", "second"] {
        stuck.task(task, nothing).pool("shut");
    }
    let one = Dag::new("one").max_active_tasks(1);
    one.task("hold", for_ever);
    one.task("next", nothing);
    vec![busy, stuck, one]
}

/// What the page says, once it says that.
async fn says(world: &World, path: &str, text: &str) -> String {
    let page = async || world.page(path).await.1;
    let appears = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        loop {
            let page = page().await;
            if page.contains(text) {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    match appears.await {
        Ok(page) => page,
        Err(_) => panic!("{path} does not say {text:?}: {}", page().await),
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn what_waits_says_for_what_and_who_holds_it(pool: PgPool) {
    let world = World::of(pool, web::Access::Loopback, dags()).await;
    for (name, slots) in [("narrow", 1), ("shut", 0)] {
        let pool = format!(r#"{{"name": "{name}", "slots": {slots}}}"#);
        assert_eq!(world.call(Method::POST, "/pools", &pool).await.0, 201);
    }
    for dag in ["busy", "stuck", "one"] {
        world.call(Method::PATCH, &format!("/dags/{dag}"), r#"{"is_paused": false}"#).await;
    }
    for (dag, run) in [("busy", "a"), ("stuck", "a"), ("one", "a")] {
        let body = format!(r#"{{"logical_date": null, "dag_run_id": "{run}"}}"#);
        assert_eq!(world.call(Method::POST, &format!("/dags/{dag}/dagRuns"), &body).await.0, 200);
    }
    let held = |page: &str| page.contains("href=\"/dags/busy/runs/a/tasks/hold\">busy.hold</a>");

    let page = says(&world, "/dags/busy/runs/a/tasks/rival", "pool narrow: 1 of 1 slots are used, by").await;
    assert!(held(&page), "{page}");
    let page = says(&world, "/dags/busy/runs/a/tasks/after", "the tasks before it (all_done):").await;
    assert!(held(&page), "{page}");
    let (_, waits) = world.get("/dags/busy/dagRuns/a/taskInstances/after/dependencies").await;
    let reason = "It waits for the tasks before it (all_done): busy.hold";
    assert_eq!(waits["dependencies"][0]["reason"], reason, "{waits}");
    let page = says(&world, "/dags/one/runs/a/tasks/next", "as the DAG lets: 1 (max_active_tasks), as").await;
    assert!(page.contains(">one.hold</a>"), "{page}");

    // A run goes on as long as one of its tasks does.
    let page = world.page("/dags/busy/runs/a").await.1;
    assert!(!page.contains("note why"), "{page}");
    let page = says(&world, "/dags/stuck/runs/a", "pool shut: 0 of 0 slots are used").await;
    assert!(page.contains("first and 1 more: It waits for"), "{page}");
    let second = r#"{"logical_date": null, "dag_run_id": "b"}"#;
    assert_eq!(world.call(Method::POST, "/dags/busy/dagRuns", second).await.0, 200);
    let page = says(&world, "/dags/busy/runs/b", "running as may: 1 (max_active_runs), as").await;
    assert!(page.contains("href=\"/dags/busy/runs/a\">a</a>"), "{page}");
}

#[sqlx::test(migrations = "../migrations")]
async fn home_tells_which_runs_do_not_start(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    for (dag, run) in [("example", "one"), ("example", "two"), ("typed", "three")] {
        let body = json!({ "dag_run_id": run, "logical_date": null }).to_string();
        assert_eq!(world.call(Method::POST, &format!("/dags/{dag}/dagRuns"), &body).await.0, 200);
    }
    assert!(world.page("/").await.1.contains("No run and no task waits."), "they have only just come");
    let before =
        "update dag_run set queued_at = now() - interval '5 minutes', run_after = now() - interval '5 minutes'";
    sqlx::query(before).execute(&pool).await.unwrap();
    let page = world.page("/").await.1;
    let text = page.replace("</strong></a>", "");
    assert!(text.contains("example: 2 runs wait until it is unpaused"), "{page}");
    assert!(text.contains("typed: 1 run waits until it is unpaused"), "{page}");
    assert!(page.contains(r#"href="/dags/example/runs?state=queued""#), "{page}");
}
