//! The API and the pages through the real router, on a real Postgres.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod assets;
mod audit;
mod auth;
mod bulk;
mod chosen;
mod cursors;
mod deletes;
mod dialogs;
mod granted;
mod hostile;
mod lists;
mod logs;
mod openapi;
mod pane;
mod patience;
mod refusals;
mod resources;
mod streaming;
mod tls;
mod waits;
mod world;
mod xcom;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use orchestrator::store;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{HOSTILE, World, request};

#[sqlx::test(migrations = "../migrations")]
async fn a_run_is_triggered_fails_and_is_cleared(pool: PgPool) {
    let world = World::new(pool).await;
    let (status, dag) = world.call(Method::PATCH, "/dags/example", r#"{"is_paused": false}"#).await;
    assert_eq!((status, &dag["is_paused"]), (200, &json!(false)));
    let body = r#"{"logical_date": null, "dag_run_id": "mine", "conf": {"a": 1}, "note": "why"}"#;
    let (status, run) = world.call(Method::POST, "/dags/example/dagRuns", body).await;
    assert_eq!(
        (status, &run["dag_run_id"], &run["run_type"], &run["conf"]["a"]),
        (200, &json!("mine"), &json!("manual"), &json!(1))
    );
    let (status, again) = world.call(Method::POST, "/dags/example/dagRuns", body).await;
    assert_eq!((status, &again["detail"]["reason"]), (409, &json!("Unique constraint violation")));
    assert_eq!(world.ends("mine").await["state"], "failed");

    let (_, instances) = world.get("/dags/example/dagRuns/mine/taskInstances").await;
    let states: Vec<_> =
        instances["task_instances"].as_array().unwrap().iter().map(|task| task["state"].clone()).collect();
    assert_eq!(
        (states, &instances["total_entries"]),
        (vec![json!("success"), json!("failed"), json!("upstream_failed")], &json!(3))
    );
    let (_, failed) = world.get("/dags/example/dagRuns/~/taskInstances?state=failed&state=upstream_failed").await;
    assert_eq!(failed["total_entries"], 2);
    let (status, log) = world.get("/dags/example/dagRuns/mine/taskInstances/boom/logs/1").await;
    assert_eq!((status, &log["continuation_token"]), (200, &Value::Null));
    assert!(log["content"][0]["event"].as_str().unwrap().contains("boom on purpose"), "{log}");

    // The defaults: a dry run of what failed.
    let (status, shown) =
        world.call(Method::POST, "/dags/example/clearTaskInstances", r#"{"dag_run_id": "mine"}"#).await;
    assert_eq!((status, &shown["total_entries"]), (200, &json!(2)));
    assert_eq!(world.get("/dags/example/dagRuns/mine").await.1["state"], "failed");
    let body = r#"{"dag_run_id": "mine", "dry_run": false, "only_failed": false, "task_ids": ["boom"], "include_downstream": true}"#;
    let (status, cleared) = world.call(Method::POST, "/dags/example/clearTaskInstances", body).await;
    assert_eq!((status, &cleared["total_entries"]), (200, &json!(2)));
    assert_eq!(world.ends("mine").await["state"], "failed");
    let (_, waits) = world.get("/dags/example/dagRuns/mine/taskInstances/boom/dependencies").await;
    assert_eq!(waits, json!({ "dependencies": [] }), "it has ended");
    let (_, tries) = world.get("/dags/example/dagRuns/mine/taskInstances/boom/tries").await;
    assert_eq!((&tries["total_entries"], &tries["task_instances"][1]["try_number"]), (&json!(2), &json!(2)));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_trigger_that_is_sent_again_makes_no_second_run(pool: PgPool) {
    let world = World::new(pool).await;
    let trigger = async |key: &str, body: &str| {
        let post = request(Method::POST, "/api/v2/dags/example/dagRuns").header("content-type", "application/json");
        let (status, answer) =
            world.send(post.header("idempotency-key", key).body(Body::from(body.to_owned())).unwrap()).await;
        (status.as_u16(), serde_json::from_str::<Value>(&answer).unwrap())
    };
    let body = r#"{"logical_date": null, "conf": {"full": true}}"#;
    let (status, made) = trigger("\"8e03978e\"", body).await;
    assert_eq!((status, &made["dag_run_id"]), (200, &json!("manual__8e03978e")));
    let (status, again) = trigger("8e03978e", body).await;
    assert_eq!((status, &again["dag_run_id"], &again["queued_at"]), (200, &made["dag_run_id"], &made["queued_at"]));
    assert_eq!(trigger("8e03978e", r#"{"logical_date": null}"#).await.0, 422, "another request with the same key");
    assert_eq!(trigger("other", body).await.0, 200);
    assert_eq!(trigger("\"\"", body).await.0, 400);
    assert_eq!(trigger("a b", body).await.0, 400, "no run can be called so");
    let named = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    assert_eq!([trigger("k", named).await.0, trigger("k", named).await.0], [200, 200]);
    assert_eq!(world.call(Method::POST, "/dags/example/dagRuns", named).await.0, 409, "without a key");
    assert_eq!(world.get("/dags/example/dagRuns").await.1["total_entries"], 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn tasks_and_runs_are_marked(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::PATCH, "/dags/example", r#"{"is_paused": false}"#).await;
    world.call(Method::POST, "/dags/example/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#).await;
    assert_eq!(world.ends("mine").await["state"], "failed");
    let boom = "/dags/example/dagRuns/mine/taskInstances/boom";
    let (status, shown) = world.call(Method::PATCH, &format!("{boom}/dry_run"), r#"{"new_state": "success"}"#).await;
    assert_eq!(
        (status, &shown["total_entries"], &shown["task_instances"][0]["state"]),
        (200, &json!(1), &json!("failed"))
    );
    let (status, marked) = world.call(Method::PATCH, boom, r#"{"new_state": "success"}"#).await;
    assert_eq!((status, &marked["task_instances"][0]["state"]), (200, &json!("success")));
    // What failed because of it has been cleared, and runs now.
    assert_eq!(world.ends("mine").await["state"], "success");

    let run = "/dags/example/dagRuns/mine";
    let (status, failed) = world.call(Method::PATCH, run, r#"{"state": "failed", "note": "not good"}"#).await;
    assert_eq!((status, &failed["state"], &failed["note"]), (200, &json!("failed"), &json!("not good")));
    assert_eq!(world.call(Method::PATCH, run, r#"{"state": "queued"}"#).await.1["state"], "queued");
    assert_eq!(world.ends("mine").await["state"], "success");
    assert_eq!(world.get(run).await.1["note"], "not good");

    let (status, answer) = world.call(Method::PATCH, boom, r#"{"new_state": "running"}"#).await;
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "new_state"])));
    assert_eq!(world.call(Method::PATCH, run, r#"{"state": "running"}"#).await.0, 422);
    assert_eq!(world.call(Method::PATCH, "/dags/example/dagRuns/other", r#"{"state": "failed"}"#).await.0, 404);
    let missing = "/dags/example/dagRuns/mine/taskInstances/other";
    assert_eq!(world.call(Method::PATCH, missing, r#"{"new_state": "failed"}"#).await.0, 404);
    // Past and future need a date to be before or after.
    let (status, answer) = world.call(Method::PATCH, boom, r#"{"new_state": "failed", "include_past": true}"#).await;
    assert_eq!(
        (status, &answer["detail"]),
        (400, &json!("Cannot use include_past or include_future with no logical_date"))
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn pools_are_made_changed_and_deleted(pool: PgPool) {
    let world = World::new(pool).await;
    let (status, made) = world.call(Method::POST, "/pools", r#"{"name": "narrow", "slots": 2}"#).await;
    assert_eq!((status, &made["open_slots"], &made["include_deferred"]), (201, &json!(2), &json!(false)));
    assert_eq!(world.call(Method::POST, "/pools", r#"{"name": "narrow", "slots": 2}"#).await.0, 409);
    let (status, answer) = world.call(Method::POST, "/pools", r#"{"name": "x", "slots": -2}"#).await;
    assert_eq!((status, &answer["detail"][0]["type"]), (422, &json!("greater_than_equal")));
    let (status, patched) = world.call(Method::PATCH, "/pools/narrow", r#"{"slots": -1, "description": "wide"}"#).await;
    assert_eq!((status, &patched["slots"], &patched["description"]), (200, &json!(-1), &json!("wide")));
    let (_, all) = world.get("/pools").await;
    assert_eq!((&all["total_entries"], &all["pools"][0]["name"]), (&json!(2), &json!("default_pool")));
    assert_eq!(all["pools"][0]["slots"], 128);
    assert_eq!(world.call(Method::DELETE, "/pools/narrow", "").await.0, 204);
    assert_eq!(world.get("/pools/narrow").await.0, 404);
    assert_eq!(world.call(Method::DELETE, "/pools/default_pool", "").await.0, 400);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_bad_request_is_told_in_airflows_words(pool: PgPool) {
    let world = World::new(pool).await;
    let post = async |body| world.call(Method::POST, "/dags/example/dagRuns", body).await;
    let (status, answer) = post("{}").await;
    assert_eq!(
        (status, &answer["detail"][0]["type"], &answer["detail"][0]["loc"]),
        (422, &json!("missing"), &json!(["body", "logical_date"]))
    );
    let (status, answer) = post(r#"{"logical_date": null, "x": 1}"#).await;
    assert_eq!((status, &answer["detail"][0]["type"]), (422, &json!("extra_forbidden")));
    assert_eq!(post("{").await.1["detail"][0]["type"], "json_invalid");
    assert_eq!(post(r#"{"logical_date": "2026-01-01T00:00:00"}"#).await.1["detail"][0]["type"], "timezone_aware");
    assert_eq!(post(r#"{"logical_date": null, "conf": [1]}"#).await.1["detail"][0]["type"], "dict_type");
    for (path, status, text) in [
        ("/dags/none", 404, "The Dag with ID: `none` was not found"),
        ("/dags/example/dagRuns/none", 404, "The DagRun with dag_id: `example` and run_id: `none` was not found"),
        ("/dags/example/tasks/none", 404, "Task with id none was not found"),
        (
            "/dags/example/dagRuns?state=bad",
            422,
            "Invalid value for state. Valid values are queued, running, success, failed",
        ),
        (
            "/dags?order_by=color",
            400,
            "Ordering with 'color' is disallowed or the attribute does not exist on the model",
        ),
    ] {
        assert_eq!(world.get(path).await, (status, json!({ "detail": text })), "{path}");
    }
    let both = r#"{"only_failed": true, "only_running": true}"#;
    let (status, answer) = world.call(Method::POST, "/dags/example/clearTaskInstances", both).await;
    assert_eq!((status, &answer["detail"][0]["type"]), (422, &json!("value_error")));
    assert_eq!(world.get("/nothing").await, (404, json!({ "error": "API route not found" })));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_airflows_client_requires_is_there(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, dags) = world.get("/dags?tags=a").await;
    let dag = &dags["dags"][0];
    assert_eq!(dag["tags"][0]["name"], "a");
    for field in [
        "dag_id",
        "dag_display_name",
        "is_paused",
        "is_stale",
        "fileloc",
        "file_token",
        "timetable_partitioned",
        "timetable_periodic",
        "tags",
        "owners",
        "max_active_tasks",
        "max_consecutive_failed_dag_runs",
        "has_task_concurrency_limits",
        "has_import_errors",
        "is_backfillable",
    ] {
        assert!(!dag[field].is_null(), "{field}");
    }
    let (_, details) = world.get("/dags/example/details").await;
    for field in ["catchup", "concurrency", "render_template_as_native_obj", "latest_dag_version"] {
        assert!(!details[field].is_null(), "{field}");
    }
    let (_, tasks) = world.get("/dags/example/tasks").await;
    assert_eq!(tasks["tasks"][0]["task_id"], "after");
    assert_eq!(
        tasks["tasks"][1]["retry_delay"],
        json!({ "__type": "TimeDelta", "days": 0, "seconds": 300, "microseconds": 0 })
    );
    let (_, health) = world.get("/monitor/health").await;
    assert_eq!(health["metadatabase"]["status"], "healthy");
}

#[sqlx::test(migrations = "../migrations")]
async fn requests_of_other_sites_are_refused_and_text_is_escaped(pool: PgPool) {
    let world = World::new(pool).await;
    let foreign = Request::get("/api/v2/version").header("host", "evil.example").body(Body::empty()).unwrap();
    assert_eq!(world.send(foreign).await.0, StatusCode::FORBIDDEN);
    let forged = request(Method::POST, "/dags/example/trigger").header("origin", "http://evil.example");
    assert_eq!(world.send(forged.body(Body::empty()).unwrap()).await.0, StatusCode::FORBIDDEN);
    for path in ["/dags", "/dags/example"] {
        let (status, page) = world.page(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(page.contains("&#60;script&#62;") && !page.contains(HOSTILE), "{path}");
    }
    world.call(Method::PATCH, "/dags/example", r#"{"is_paused": false}"#).await;
    world.call(Method::POST, "/dags/example/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#).await;
    world.ends("mine").await;
    let (_, log) = world.page("/dags/example/runs/mine/tasks/boom").await;
    assert!(log.contains("boom on purpose") && !log.contains(HOSTILE));
    assert_eq!(world.page("/dags/none").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.page("/no/such/page").await.0, StatusCode::NOT_FOUND);
}

#[sqlx::test(migrations = "../migrations")]
async fn variables_and_connections_are_kept_and_their_secrets_are_not_shown(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let call = async |method: Method, path: &str, body: Value| world.call(method, path, &body.to_string()).await;
    let made = json!({ "key": "region/eu", "value": {"a": 1}, "description": "where" });
    let (status, shown) = call(Method::POST, "/variables", made.clone()).await;
    assert_eq!(status, 201, "{shown}");
    assert_eq!((&shown["value"], &shown["is_encrypted"]), (&json!("{\"a\":1}"), &json!(true)));
    assert_eq!(call(Method::POST, "/variables", made).await.0, 409);
    let (_, shown) = call(Method::PATCH, "/variables/region/eu", json!({ "value": "west" })).await;
    assert_eq!((&shown["value"], &shown["description"]), (&json!("west"), &json!("where")));
    call(Method::POST, "/variables", json!({ "key": "api_key", "value": "hunter2" })).await;
    let (_, listed) = call(Method::GET, "/variables", Value::Null).await;
    assert_eq!(listed["total_entries"], 2);
    assert_eq!(listed["variables"][0]["value"], "***");
    assert_eq!(call(Method::DELETE, "/variables/api_key", Value::Null).await.0, 204);
    assert_eq!(call(Method::GET, "/variables/api_key", Value::Null).await.0, 404);

    let made = json!({
        "connection_id": "warehouse", "conn_type": "postgres", "host": "db", "login": "app", "password": "hunter2",
        "port": 5432, "extra": "{\"sslmode\": \"require\", \"token\": \"t0ps3cret\"}",
    });
    let (status, shown) = call(Method::POST, "/connections", made).await;
    assert_eq!(status, 201, "{shown}");
    assert_eq!(shown["password"], "***");
    assert_eq!(shown["extra"], "{\"sslmode\":\"require\",\"token\":\"***\"}");
    // What was shown comes back: the secrets stay.
    let (status, _) = call(Method::PATCH, "/connections/warehouse", shown).await;
    assert_eq!(status, 200);
    let row = store::connections::list(&mut pool.acquire().await.unwrap(), Some("warehouse")).await.unwrap().remove(0);
    let kept = orchestrator::lookup::Connection::open(row.clone(), &world.keys).unwrap();
    assert_eq!((kept.password.as_deref(), &kept.extra.unwrap()["token"]), (Some("hunter2"), &json!("t0ps3cret")));
    assert!(!format!("{row:?}").contains("hunter2"));
    let (status, _) = call(Method::PATCH, "/connections/warehouse", json!({ "port": 99_999 })).await;
    assert_eq!(status, 422);
    let (status, _) = call(Method::POST, "/connections", json!({ "connection_id": "a b", "conn_type": "x" })).await;
    assert_eq!(status, 400);
    let events = sqlx::query_scalar::<_, Value>("select jsonb_agg(extra) from event").fetch_one(&pool).await.unwrap();
    assert!(!events.to_string().contains("hunter2"), "{events}");
}

#[sqlx::test(migrations = "../migrations")]
async fn backfills_are_made_paused_and_cancelled(pool: PgPool) {
    let world = World::new(pool).await;
    let wanted = json!({
        "dag_id": "example", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-03T00:00:00Z",
        "max_active_runs": 1, "dag_run_conf": { "a": 1 },
    })
    .to_string();
    let (status, planned) = world.call(Method::POST, "/backfills/dry_run", &wanted).await;
    assert_eq!((status, &planned["total_entries"]), (200, &json!(3)), "{planned}");
    assert_eq!(planned["backfills"][2]["logical_date"], "2026-01-03T00:00:00Z");
    let (status, made) = world.call(Method::POST, "/backfills", &wanted).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(
        (&made["is_paused"], &made["completed_at"], &made["reprocess_behavior"]),
        (&json!(false), &Value::Null, &json!("none"))
    );
    assert_eq!(world.call(Method::POST, "/backfills", &wanted).await.0, 409);
    let id = &made["id"];
    let (_, runs) = world.get("/dags/example/dagRuns").await;
    assert_eq!((&runs["total_entries"], &runs["dag_runs"][0]["run_type"]), (&json!(3), &json!("backfill")));
    let (_, paused) = world.call(Method::PUT, &format!("/backfills/{id}/pause"), "").await;
    assert_eq!(paused["is_paused"], true);
    let (_, cancelled) = world.call(Method::PUT, &format!("/backfills/{id}/cancel"), "").await;
    assert!(cancelled["completed_at"].is_string(), "{cancelled}");
    assert_eq!(world.call(Method::PUT, &format!("/backfills/{id}/unpause"), "").await.0, 409);
    assert_eq!(world.get("/backfills?dag_id=example").await.1["total_entries"], 1);
    assert_eq!(world.get("/backfills/999").await.0, 404);
    let bad = json!({ "dag_id": "example", "from_date": "yesterday", "to_date": "2026-01-03T00:00:00Z" }).to_string();
    assert_eq!(world.call(Method::POST, "/backfills", &bad).await.0, 422);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_signal_is_posted(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let put = request(Method::PUT, "/api/signals/paid").header("content-type", "application/json");
    let (status, body) = world.send(put.body(Body::from("{\"amount\": 5}")).unwrap()).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "{\"key\":\"paid\",\"woken\":0}"));
    let kept = store::signals::get(&mut pool.acquire().await.unwrap(), "paid").await.unwrap();
    assert_eq!(kept, Some(json!({ "amount": 5 })));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_leads_to_those_beside_it_and_a_day_to_its_runs(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    for id in ["first", "second", "third"] {
        let run = json!({ "logical_date": null, "dag_run_id": id });
        world.call(Method::POST, "/dags/example/dagRuns", &run.to_string()).await;
    }
    // Two of the same instant, as those of a backfill.
    sqlx::query("update dag_run set run_after = (select min(run_after) from dag_run)").execute(&pool).await.unwrap();
    let today = sqlx::query_scalar("select (run_after at time zone 'utc')::date from dag_run limit 1");
    let today: chrono::NaiveDate = today.fetch_one(&pool).await.unwrap();
    let page = async |path: &str| world.page(path).await.1;
    for (run, earlier, later) in
        [("first", None, Some("second")), ("second", Some("first"), Some("third")), ("third", Some("second"), None)]
    {
        for of in ["", "/tasks/ok"] {
            let page = page(&format!("/dags/example/runs/{run}{of}")).await;
            for (rel, run) in [("prev", earlier), ("next", later)] {
                let link = run.map(|run| format!(r#"<a rel="{rel}" href="/dags/example/runs/{run}{of}">"#));
                assert_eq!(page.contains(&format!(r#"<a rel="{rel}""#)), run.is_some(), "{run:?}");
                assert!(link.is_none_or(|link| page.contains(&link)), "{rel} of {run:?}");
            }
        }
    }
    let calendar = page("/dags/example/calendar").await;
    assert!(calendar.contains(&format!("/dags/example/runs?day={today}")), "the day leads to its runs");
    assert!(page(&format!("/dags/example/runs?day={today}")).await.contains("run-second"));
    for other in ["2020-02-29", "%2B262142-12-31", "-0044-03-15"] {
        let (status, list) = world.page(&format!("/dags/example/runs?day={other}")).await;
        assert_eq!((status.as_u16(), list.contains("run-second")), (200, !other.starts_with('2')), "{other}");
    }
    let versions = page("/dags/example/versions").await;
    assert!(versions.contains("It is the first one."));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_pages_of_runs_lead_through_all_of_them_and_back(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    for number in 0..120 {
        let run = json!({ "logical_date": null, "dag_run_id": format!("run-{number:03}") });
        world.call(Method::POST, "/dags/example/dagRuns", &run.to_string()).await;
    }
    let ids = |page: &str| {
        let links = page.split(r#"href="/dags/example/runs/"#).skip(1).map(|rest| rest[..7].to_owned());
        links.collect::<std::collections::BTreeSet<_>>()
    };
    let link = |page: &str, rel: &str| {
        let (_, rest) = page.split_once(&format!(r#"rel="{rel}" href=""#))?;
        Some(rest.split('"').next().unwrap().replace("&#38;", "&"))
    };
    for list in ["/runs", "/dags/example/runs"] {
        let (mut pages, mut query) = (Vec::new(), Some(String::new()));
        while let Some(at) = query {
            let (status, page) = world.page(&format!("{list}{at}")).await;
            assert_eq!(status, 200, "{at}");
            query = link(&page, "next").filter(|next| next.starts_with('?'));
            pages.push(page);
        }
        let all: std::collections::BTreeSet<_> = pages.iter().flat_map(|page| ids(page)).collect();
        assert_eq!((pages.len(), all.len()), (3, 120), "{list}");
        assert!(pages[2].contains("101–120 of 120"), "{list}");
        let back = link(&pages[2], "prev").unwrap();
        let (_, before) = world.page(&format!("{list}{back}")).await;
        assert_eq!(ids(&before), ids(&pages[1]), "{list}");
        assert!(before.contains("51–100 of 120"));
        assert_eq!(ids(&world.page(&format!("{list}?offset=50")).await.1), ids(&pages[1]), "an address of before");
        let (status, refused) = world.page(&format!("{list}?cursor=nonsense")).await;
        assert_eq!((status.as_u16(), refused.contains("begin with its first one")), (400, true));
        let (status, _) = world.page(&format!("{list}?cursor=WyJzb29uIl0&offset=50")).await;
        assert_eq!(status, 400);
    }
}
