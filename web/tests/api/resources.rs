//! What there is besides DAGs and their runs: events, processes, versions, tags.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::json;
use sqlx::PgPool;

use crate::world::{World, request};

#[sqlx::test(migrations = "../migrations")]
async fn who_did_what_is_listed(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::PATCH, "/dags/example", r#"{"is_paused": false}"#).await;
    world.call(Method::POST, "/dags/typed/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#).await;
    let (_, all) = world.get("/eventLogs?order_by=-event_log_id").await;
    assert_eq!(all["total_entries"], 2, "{all}");
    let triggered = &all["event_logs"][0];
    assert_eq!(
        (&triggered["event"], &triggered["dag_id"], &triggered["run_id"], &triggered["owner"]),
        (&json!("trigger_dag_run"), &json!("typed"), &json!("mine"), &json!("rest_api"))
    );
    assert!(triggered["extra"].is_string(), "{triggered}");
    assert_eq!(&world.get(&format!("/eventLogs/{}", triggered["event_log_id"])).await.1, triggered);
    for (query, total) in [
        ("dag_id=typed", 1),
        ("event=trigger_dag_run", 1),
        ("excluded_events=trigger_dag_run", 1),
        ("included_events=trigger_dag_run&included_events=other", 1),
        ("after=2100-01-01T00:00:00Z", 0),
        ("before=2100-01-01T00:00:00Z", 2),
        ("dag_id_prefix_pattern=ex", 1),
    ] {
        assert_eq!(world.get(&format!("/eventLogs?{query}")).await.1["total_entries"], total, "{query}");
    }
    assert_eq!(world.get("/eventLogs/999999").await.0, 404);
}

#[sqlx::test(migrations = "../migrations")]
async fn processes_versions_tags_and_counts_are_listed(pool: PgPool) {
    let world = World::new(pool).await;
    let (_, run) = world.call(Method::POST, "/dags/typed/dagRuns", r#"{"logical_date": null}"#).await;
    let load = format!("/dags/typed/dagRuns/{}/taskInstances/load", run["dag_run_id"].as_str().unwrap());
    let (_, waits) = world.get(&format!("{load}/dependencies")).await;
    assert_eq!(waits["dependencies"][0]["name"], "Trigger Rule", "{waits}");
    let alive = async || world.get("/jobs?is_alive=true&job_type=SchedulerJob").await.1;
    let appears = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while alive().await["total_entries"] != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    appears.await.unwrap();
    let (_, jobs) = world.get("/jobs?order_by=-latest_heartbeat&job_type=SchedulerJob").await;
    assert_eq!((&jobs["jobs"][0]["state"], &jobs["jobs"][0]["job_type"]), (&json!("running"), &json!("SchedulerJob")));
    for (query, total) in [
        ("job_type=LocalTaskJob", 0),
        ("job_type=SchedulerJob&job_state=running", 1),
        ("job_state=failed", 0),
        ("job_state=restarting", 0),
        ("executor_class=LocalExecutor", 0),
    ] {
        assert_eq!(world.get(&format!("/jobs?{query}")).await.1["total_entries"], total, "{query}");
    }

    let (_, versions) = world.get("/dags/typed/dagVersions").await;
    assert_eq!((&versions["total_entries"], &versions["dag_versions"][0]["version_number"]), (&json!(1), &json!(1)));
    assert_eq!(world.get("/dags/typed/dagVersions/1").await.1, versions["dag_versions"][0]);
    assert_eq!(run["dag_versions"][0], versions["dag_versions"][0], "{run}");
    assert_eq!(world.get("/dags/typed/dagVersions/2").await.0, 404);
    assert_eq!(world.get("/dags/none/dagVersions").await.0, 404);

    let (_, source) = world.get("/dagSources/typed").await;
    assert_eq!((&source["content"], &source["version_number"]), (&json!("// what its author wrote"), &json!(1)));
    let plain = request(Method::GET, "/api/v2/dagSources/typed").header("accept", "text/plain");
    let (status, text) = world.send(plain.body(Body::empty()).unwrap()).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "// what its author wrote"));
    assert_eq!(world.get("/dagSources/example").await.0, 404, "it carries none");
    let (_, dag) = world.get("/dags/typed").await;
    assert_eq!(dag["fileloc"], "web/tests/api/world.rs");

    let (_, stats) = world.get("/dagStats?dag_ids=typed").await;
    assert_eq!(stats["dags"][0]["stats"][0], json!({ "state": "queued", "count": 1 }));
    assert_eq!(world.get("/dagTags").await.1, json!({ "tags": ["a", "b", "c"], "total_entries": 3 }));
    assert_eq!(world.get("/dagTags?order_by=-name&limit=1").await.1["tags"], json!(["c"]));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_there_cannot_be_is_an_empty_list(pool: PgPool) {
    let world = World::new(pool).await;
    for (path, plural) in [
        ("/importErrors", "import_errors"),
        ("/plugins", "plugins"),
        ("/plugins/importErrors", "import_errors"),
        ("/providers", "providers"),
        ("/dagWarnings", "dag_warnings"),
    ] {
        assert_eq!(world.get(path).await, (200, json!({ plural: [], "total_entries": 0 })), "{path}");
    }
    assert_eq!(world.get("/importErrors/1").await.0, 404);
    let (status, answer) = world.get("/config").await;
    assert_eq!(status, 403);
    assert!(answer["detail"].as_str().unwrap().contains("Your Airflow administrator chose"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_remark_on_a_task_instance_stays(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::POST, "/dags/example/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#).await;
    let path = "/dags/example/dagRuns/mine/taskInstances/ok";
    assert_eq!(world.get(path).await.1["note"], json!(null));
    let (status, answer) = world.call(Method::PATCH, path, r#"{"note": "look here"}"#).await;
    assert_eq!((status, &answer["task_instances"][0]["note"]), (200, &json!("look here")), "{answer}");
    let body = r#"{"new_state": "success", "note": "by hand"}"#;
    let (status, answer) = world.call(Method::PATCH, path, body).await;
    assert_eq!(status, 200, "{answer}");
    let (_, now) = world.get(path).await;
    assert_eq!((&now["state"], &now["note"]), (&json!("success"), &json!("by hand")));
    assert_eq!(now["dag_version"]["version_number"], 1);
    world.call(Method::PATCH, path, r#"{"note": null}"#).await;
    assert_eq!(world.get(path).await.1["note"], json!(null));
    assert_eq!(world.call(Method::PATCH, path, "{}").await.0, 422);
    assert_eq!(
        world.call(Method::PATCH, "/dags/example/dagRuns/mine/taskInstances/x", r#"{"note": "x"}"#).await.0,
        404
    );
}

/// The value of a figure, with its labels.
fn figure(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// The figures once so many outcomes are told: one is counted after its commit, which is what ends a run.
async fn figures_of(world: &World, outcomes: f64) -> String {
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let (status, text) = world.page("/metrics").await;
            assert_eq!(status, 200);
            match figure(&text, "streamcommerce_outcomes_total") {
                told if told < outcomes => tokio::time::sleep(Duration::from_millis(10)).await,
                told => break (told, text),
            }
        }
    });
    let (told, text) = told.await.unwrap();
    assert_eq!(told, outcomes);
    text
}

#[sqlx::test(migrations = "../migrations")]
async fn prometheus_is_told_what_happens(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::PATCH, "/dags/typed", r#"{"is_paused": false}"#).await;
    let commits = figure(&world.page("/metrics").await.1, "streamcommerce_database_commits_total");
    world.call(Method::POST, "/dags/typed/dagRuns", r#"{"logical_date": null, "dag_run_id": "one"}"#).await;
    // A paused DAG's run waits.
    world.call(Method::POST, "/dags/example/dagRuns", r#"{"logical_date": null, "dag_run_id": "waits"}"#).await;
    world.ends_of("typed", "one").await;
    let text = figures_of(&world, 2.0).await;
    assert_eq!(figure(&text, "streamcommerce_hop_seconds_count"), 1.0, "from extract to load");
    assert_eq!(figure(&text, "streamcommerce_stale_outcomes_total"), 0.0);
    assert_eq!(figure(&text, "streamcommerce_runs{state=\"queued\"}"), 1.0);
    assert_eq!(figure(&text, "streamcommerce_pool_slots{pool=\"default_pool\",state=\"open\"}"), 128.0);
    assert!(figure(&text, "streamcommerce_database_commits_total") >= commits);
    for kind in ["scheduler", "worker"] {
        assert!(text.contains(&format!("streamcommerce_heartbeat_age_seconds{{kind=\"{kind}\"")), "{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[sqlx::test(migrations = "../migrations")]
async fn small_lists_are_chosen_and_ordered(pool: PgPool) {
    let world = World::new(pool).await;
    for (key, about) in [("a_key", "2"), ("b_key", "1"), ("c", "3")] {
        world.call(Method::POST, "/pools", &json!({ "name": key, "slots": 1 }).to_string()).await;
        let variable = json!({ "key": key, "value": "1", "description": about });
        world.call(Method::POST, "/variables", &variable.to_string()).await;
        let connection = json!({ "connection_id": key, "conn_type": "http", "host": about });
        world.call(Method::POST, "/connections", &connection.to_string()).await;
    }
    let cases = [
        ("/pools?pool_name_pattern=KEY&order_by=-name", "pools", "name", vec!["b_key", "a_key"]),
        ("/pools?pool_name_prefix_pattern=b_", "pools", "name", vec!["b_key"]),
        ("/variables?variable_key_pattern=b|c&order_by=-key", "variables", "key", vec!["c", "b_key"]),
        ("/variables?order_by=description", "variables", "key", vec!["b_key", "a_key", "c"]),
        ("/variables?variable_key_prefix_pattern=c&limit=1", "variables", "key", vec!["c"]),
        ("/connections?connection_id_pattern=_k", "connections", "connection_id", vec!["a_key", "b_key"]),
        ("/connections?order_by=-host&limit=2", "connections", "connection_id", vec!["c", "a_key"]),
        ("/connections?connection_id_prefix_pattern=%25", "connections", "connection_id", vec![]),
        ("/dags/typed/tasks?order_by=-task_id", "tasks", "task_id", vec!["load", "extract"]),
    ];
    for (path, plural, key, expected) in cases {
        let (_, answer) = world.get(path).await;
        let keys: Vec<_> = answer[plural].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap()).collect();
        assert_eq!(keys, expected, "{path}");
    }
    for list in ["pools", "variables", "connections", "backfills", "dagTags", "dags/typed/tasks"] {
        assert_eq!(world.get(&format!("/{list}?order_by=color")).await.0, 400, "{list}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn one_whose_key_is_lost_hides_no_other(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    for (path, one) in [
        ("/variables", json!({ "key": "fine", "value": "seen" })),
        ("/variables", json!({ "key": "gone", "value": "unseen" })),
        (
            "/connections",
            json!({ "connection_id": "fine", "conn_type": "http", "password": "p", "extra": "{\"a\": 1}" }),
        ),
        ("/connections", json!({ "connection_id": "gone", "conn_type": "http", "host": "there", "password": "p" })),
    ] {
        assert_eq!(world.call(Method::POST, path, &one.to_string()).await.0, 201, "{one}");
    }
    let other = "update variable set sealed = 'another key, other bytes' where key = 'gone'";
    sqlx::query(other).execute(&pool).await.unwrap();
    let other = "update connection set sealed_password = 'another key, other bytes' where conn_id = 'gone'";
    sqlx::query(other).execute(&pool).await.unwrap();

    let (status, list) = world.get("/variables").await;
    let values: Vec<_> = list["variables"].as_array().unwrap().iter().map(|one| one["value"].clone()).collect();
    assert_eq!((status, values), (200, vec![json!("seen"), json!(null)]));
    let (status, list) = world.get("/connections").await;
    let told = |at: usize| list["connections"][at].clone();
    assert_eq!((status, &told(0)["extra"], &told(1)["extra"]), (200, &json!("{\"a\":1}"), &json!(null)));
    assert_eq!((&told(1)["host"], &told(1)["password"]), (&json!("there"), &json!("***")));
    for page in ["/variables", "/connections"] {
        let (status, text) = world.page(page).await;
        assert_eq!((status.as_u16(), text.matches(">cannot be opened<").count()), (200, 1), "{page}");
    }

    // What nobody has typed anew is not written over what may yet be opened.
    for (path, body) in [("/variables/gone", r#"{"description": "new"}"#), ("/connections/gone", r#"{"host": "here"}"#)]
    {
        let (status, refused) = world.call(Method::PATCH, path, body).await;
        assert_eq!((status, refused["detail"].as_str().unwrap().contains("give the key back")), (409, true), "{path}");
    }
    for (path, form) in
        [("/variables/gone", "value=&description=new"), ("/connections/gone", "conn_type=http&host=here")]
    {
        let post = request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        let (status, text) = world.send(post.body(Body::from(form)).unwrap()).await;
        assert_eq!((status.as_u16(), text.contains("give the key back")), (409, true), "{path}");
    }
    let (status, set) = world.call(Method::PATCH, "/variables/gone", r#"{"value": "set anew"}"#).await;
    assert_eq!((status, &set["value"]), (200, &json!("set anew")));
    assert_eq!(world.call(Method::DELETE, "/connections/gone", "").await.0, 204);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_is_about_the_data_that_was_asked_for(pool: PgPool) {
    let world = World::new(pool).await;
    let trigger =
        async |run: serde_json::Value| world.call(Method::POST, "/dags/typed/dagRuns", &run.to_string()).await;
    let (start, end) = ("2026-01-01T00:00:00Z", "2026-01-31T12:00:00Z");
    let run = json!({ "logical_date": "2026-02-01T00:00:00Z", "data_interval_start": start, "data_interval_end": end });
    let (status, made) = trigger(run).await;
    assert_eq!(
        (status, &made["data_interval_start"], &made["data_interval_end"], &made["logical_date"]),
        (200, &json!(start), &json!(end), &json!("2026-02-01T00:00:00Z")),
        "{made}"
    );
    let (_, made) = trigger(json!({ "logical_date": "2026-03-01T00:00:00Z" })).await;
    assert_eq!(
        (&made["data_interval_start"], &made["data_interval_end"]),
        (&made["logical_date"], &made["logical_date"])
    );
    assert_eq!(trigger(json!({ "logical_date": null, "data_interval_start": start })).await.0, 422, "half of one");
    let backward = json!({ "logical_date": null, "data_interval_start": end, "data_interval_end": start });
    assert_eq!(trigger(backward).await.0, 400);
    for (types, total) in [("manual", 2), ("operator_triggered", 0), ("asset_materialization&run_type=manual", 2)] {
        let (_, listed) = world.get(&format!("/dags/typed/dagRuns?run_type={types}")).await;
        assert_eq!(listed["total_entries"], total, "{types}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn what_makes_a_dag_run_is_told(pool: PgPool) {
    let world = World::new(pool).await;
    let expected = json!({ "any": [{ "asset": { "uri": "orders", "name": "orders", "group": "asset" } }] });
    for (dag, expression, is_periodic) in
        [("consumer", &expected, false), ("example", &json!(null), true), ("typed", &json!(null), false)]
    {
        let (_, details) = world.get(&format!("/dags/{dag}/details")).await;
        assert_eq!(
            [&details["asset_expression"], &details["timetable_periodic"], &details["is_backfillable"]],
            [expression, &json!(is_periodic), &json!(is_periodic)],
            "{dag}"
        );
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn of_a_pool_what_is_null_is_taken_away_if_it_can_be(pool: PgPool) {
    let world = World::new(pool).await;
    let made = json!({ "name": "p", "slots": 2, "description": "two", "include_deferred": true });
    assert_eq!(world.call(Method::POST, "/pools", &made.to_string()).await.0, 201);
    let (status, same) = world.call(Method::PATCH, "/pools/p", r#"{"slots": 3, "include_deferred": null}"#).await;
    assert_eq!((status, &same["description"], &same["include_deferred"]), (200, &json!("two"), &json!(true)), "{same}");
    let (_, without) = world.call(Method::PATCH, "/pools/p", r#"{"description": null}"#).await;
    assert_eq!((&without["description"], &without["slots"]), (&json!(null), &json!(3)));
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_secret_within_a_variable_is_not_shown_and_not_lost(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let value = json!({ "host": "h", "auth": [{ "password": "p4ssw0rd" }] });
    let made = json!({ "key": "db", "value": value });
    let (status, shown) = world.call(Method::POST, "/variables", &made.to_string()).await;
    let shown = serde_json::from_str::<serde_json::Value>(shown["value"].as_str().unwrap()).unwrap();
    assert_eq!((status, shown), (201, json!({ "host": "h", "auth": [{ "password": "***" }] })));
    let (_, page) = world.page("/variables").await;
    assert!(page.contains("auth") && !page.contains("p4ssw0rd"), "{page}");
    let change = json!({ "value": { "host": "other", "auth": [{ "password": "***" }] } });
    assert_eq!(world.call(Method::PATCH, "/variables/db", &change.to_string()).await.0, 200);
    let mut conn = pool.acquire().await.unwrap();
    let kept = orchestrator::lookup::variable(&mut conn, &world.keys, "db").await.unwrap().unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&kept).unwrap(),
        json!({ "host": "other", "auth": [{ "password": "p4ssw0rd" }] })
    );
}
