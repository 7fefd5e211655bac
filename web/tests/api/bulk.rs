//! Many at once.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

#[sqlx::test(migrations = "../migrations")]
async fn many_are_made_changed_and_deleted(pool: PgPool) {
    let world = World::new(pool).await;
    let patch = async |path: &str, actions: Value| {
        world.call(Method::PATCH, path, &json!({ "actions": actions }).to_string()).await
    };
    let entity = |name: &str, slots: i32| json!({ "name": name, "slots": slots });
    let create = |otherwise: &str| {
        json!([{
            "action": "create", "entities": [entity("a", 1), entity("b", 2)], "action_on_existence": otherwise,
        }])
    };
    let (status, told) = patch("/pools", create("fail")).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told, json!({ "create": { "success": ["a", "b"], "errors": [] }, "update": null, "delete": null }));
    let (_, told) = patch("/pools", create("fail")).await;
    assert_eq!((&told["create"]["success"], &told["create"]["errors"][0]["status_code"]), (&json!([]), &json!(409)));
    assert_eq!(patch("/pools", create("skip")).await.1["create"]["success"], json!([]));
    let overwrite = json!([{ "action": "create", "entities": [entity("a", 9)], "action_on_existence": "overwrite" }]);
    assert_eq!(patch("/pools", overwrite).await.1["create"]["success"], json!(["a"]));
    assert_eq!(world.get("/pools/a").await.1["slots"], 9);

    let both = json!([
        { "action": "update", "entities": [entity("b", 7)] },
        { "action": "delete", "entities": ["a", "none"], "action_on_non_existence": "skip" },
    ]);
    let (_, told) = patch("/pools", both).await;
    assert_eq!((&told["update"]["success"], &told["delete"]["success"]), (&json!(["b"]), &json!(["a"])));
    assert_eq!(world.get("/pools/b").await.1["slots"], 7);
    let twice = json!([
        { "action": "update", "entities": [entity("b", 8)] },
        { "action": "update", "entities": [entity("none", 8)] },
    ]);
    let told = &patch("/pools", twice).await.1["update"];
    assert_eq!((&told["success"], &told["errors"][0]["status_code"]), (&json!(["b"]), &json!(404)), "both are told");
    let unfit = json!([{ "action": "update", "entities": [entity("b", 9), { "name": "b", "colour": "red" }] }]);
    assert_eq!(patch("/pools", unfit).await.0, 422);
    assert_eq!(world.get("/pools/b").await.1["slots"], 8, "what is written wrong is refused before anything is done");
    let gone = json!([{ "action": "delete", "entities": ["b", "none"] }]);
    let (_, told) = patch("/pools", gone).await;
    assert_eq!(told["delete"]["errors"][0]["status_code"], 404);
    assert_eq!(world.get("/pools/b").await.0, 200, "an action is done whole, or not begun");

    let variables = json!([{ "action": "create", "entities": [{ "key": "x", "value": { "a": 1 } }] }]);
    assert_eq!(patch("/variables", variables).await.1["create"]["success"], json!(["x"]));
    assert_eq!(world.get("/variables/x").await.1["value"], "{\"a\":1}");
    let connections = json!([{ "action": "create", "entities": [{ "connection_id": "db", "conn_type": "postgres" }] }]);
    assert_eq!(patch("/connections", connections).await.1["create"]["success"], json!(["db"]));

    for wrong in [
        json!(1),
        json!([{ "action": "paint", "entities": [] }]),
        json!([{ "action": "create" }]),
        json!([{ "action": "create", "entities": [{ "slots": 1 }] }]),
        json!([{ "action": "delete", "entities": ["b"], "action_on_non_existence": "overwrite" }]),
    ] {
        assert_eq!(patch("/pools", wrong.clone()).await.0, 422, "{wrong}");
    }
    assert_eq!(world.get("/pools/b").await.0, 200);
}

#[sqlx::test(migrations = "../migrations")]
async fn many_runs_are_marked_cleared_and_deleted(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::PATCH, "/dags/typed", r#"{"is_paused": false}"#).await;
    let runs = "/dags/typed/dagRuns";
    for run in ["one", "two"] {
        let body = json!({ "dag_run_id": run, "logical_date": null }).to_string();
        assert_eq!(world.call(Method::POST, runs, &body).await.0, 200);
        assert_eq!(world.ends_of("typed", run).await["state"], "success");
    }
    let patch = async |path: &str, actions: Value| {
        world.call(Method::PATCH, path, &json!({ "actions": actions }).to_string()).await
    };
    let of = |run: &str| json!({ "dag_run_id": run });
    let update = |run: &str, otherwise: &str| {
        let entities = json!([{ "dag_run_id": "one", "note": "seen", "state": "failed" }, of(run)]);
        json!([{ "action": "update", "entities": entities, "action_on_non_existence": otherwise }])
    };
    let (status, told) = patch(runs, update("none", "fail")).await;
    assert_eq!((status, &told["update"]["errors"][0]["status_code"]), (200, &json!(404)), "{told}");
    assert_eq!(
        world.get("/dags/typed/dagRuns/one").await.1["state"],
        "success",
        "an action is done whole, or not begun"
    );
    let (_, told) = patch(runs, update("none", "skip")).await;
    assert_eq!(told["update"], json!({ "success": ["typed.one"], "errors": [] }));
    let (_, one) = world.get("/dags/typed/dagRuns/one").await;
    assert_eq!((&one["state"], &one["note"]), (&json!("failed"), &json!("seen")));
    let masked = json!([{
        "action": "update", "update_mask": ["note"],
        "entities": [{ "dag_run_id": "one", "note": "masked", "state": "success" }],
    }]);
    assert_eq!(patch(runs, masked).await.1["update"]["success"], json!(["typed.one"]));
    let (_, one) = world.get("/dags/typed/dagRuns/one").await;
    assert_eq!((&one["state"], &one["note"]), (&json!("failed"), &json!("masked")));

    // Whoever may work on the DAG of the path may not by that work on another one.
    for (path, entity) in [
        (runs, json!({ "dag_id": "example", "dag_run_id": "one" })),
        ("/dags/~/dagRuns", of("one")),
        ("/dags/~/dagRuns", json!("one")),
        ("/dags/~/dagRuns", json!({ "dag_id": "~", "dag_run_id": "one" })),
    ] {
        let (status, told) = patch(path, json!([{ "action": "delete", "entities": [entity] }])).await;
        assert_eq!(status, 422, "{path} {entity}: {told}");
    }
    let create = patch(runs, json!([{ "action": "create", "entities": [of("three")] }])).await.1;
    assert_eq!(create["create"]["errors"][0]["status_code"], 405);

    let clear = async |path: &str, body: Value| world.call(Method::POST, path, &body.to_string()).await;
    let both = json!([of("one"), of("two")]);
    let (status, told) = clear("/dags/typed/clearDagRuns", json!({ "dag_runs": both })).await;
    assert_eq!((status, &told["total_entries"]), (200, &json!(4)), "four tasks would be cleared: {told}");
    let gone = json!({ "dag_runs": [of("two"), of("none")], "dry_run": false });
    assert_eq!(clear("/dags/typed/clearDagRuns", gone).await.0, 404);
    assert_eq!(world.get("/dags/typed/dagRuns/two").await.1["state"], "success");
    let other = json!({ "dag_runs": [{ "dag_id": "example", "dag_run_id": "one" }], "dry_run": false });
    assert_eq!(clear("/dags/typed/clearDagRuns", other).await.0, 422);
    let (status, told) = clear("/dags/typed/clearDagRuns", json!({ "dag_runs": both, "dry_run": false })).await;
    assert_eq!((status, &told["total_entries"]), (200, &json!(2)), "{told}");
    for run in ["one", "two"] {
        assert_eq!(world.ends_of("typed", run).await["state"], "success");
    }

    let everywhere = json!([{ "action": "delete", "entities": [{ "dag_id": "typed", "dag_run_id": "one" }, { "dag_id": "typed", "dag_run_id": "two" }] }]);
    assert_eq!(patch("/dags/~/dagRuns", everywhere).await.1["delete"]["success"], json!(["typed.one", "typed.two"]));
    assert_eq!(world.get(runs).await.1["total_entries"], 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn many_task_instances_are_marked(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::PATCH, "/dags/typed", r#"{"is_paused": false}"#).await;
    let body = json!({ "dag_run_id": "one", "logical_date": null }).to_string();
    assert_eq!(world.call(Method::POST, "/dags/typed/dagRuns", &body).await.0, 200);
    assert_eq!(world.ends_of("typed", "one").await["state"], "success");
    let path = "/dags/typed/dagRuns/one/taskInstances";
    let patch = async |path: &str, actions: Value| {
        world.call(Method::PATCH, path, &json!({ "actions": actions }).to_string()).await
    };
    let entities = json!([
        { "task_id": "extract", "new_state": "skipped" },
        { "task_id": "load", "map_index": -1, "note": "by hand" },
    ]);
    let (status, told) = patch(path, json!([{ "action": "update", "entities": entities }])).await;
    assert_eq!(status, 200);
    assert_eq!(told["update"], json!({ "success": ["typed.one.extract[-1]", "typed.one.load[-1]"], "errors": [] }));
    assert_eq!(world.get(&format!("{path}/extract")).await.1["state"], "skipped");
    assert_eq!(world.get(&format!("{path}/load")).await.1["note"], "by hand");
    let everywhere = json!([{ "action": "update", "entities": [
        { "dag_id": "typed", "dag_run_id": "one", "task_id": "load", "new_state": "failed" },
    ] }]);
    assert_eq!(patch("/dags/~/dagRuns/~/taskInstances", everywhere).await.1["update"]["errors"], json!([]));
    assert_eq!(world.get(&format!("{path}/load")).await.1["state"], "failed");
    let wrong = json!([{ "action": "update", "entities": [{ "task_id": "load", "new_state": "painted" }] }]);
    assert_eq!(patch(path, wrong).await.1["update"]["errors"][0]["status_code"], 422);
    let delete = json!([{ "action": "delete", "entities": ["load"] }]);
    assert_eq!(patch(path, delete).await.1["delete"]["errors"][0]["status_code"], 405);
    for entity in [json!({ "task_id": "load", "dag_run_id": "two" }), json!({ "task_id": "load", "map_index": "x" })] {
        assert_eq!(patch(path, json!([{ "action": "update", "entities": [entity] }])).await.0, 422, "{entity}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_group_is_marked_as_one(pool: PgPool) {
    let world = World::new(pool).await;
    world.call(Method::PATCH, "/dags/consumer", r#"{"is_paused": false}"#).await;
    let body = json!({ "dag_run_id": "one", "logical_date": null }).to_string();
    assert_eq!(world.call(Method::POST, "/dags/consumer/dagRuns", &body).await.0, 200);
    assert_eq!(world.ends_of("consumer", "one").await["state"], "success");
    let patch = async |path: &str, body: Value| {
        let path = format!("/dags/consumer/dagRuns/one/taskGroupInstances/{path}");
        let (status, told) = world.call(Method::PATCH, &path, &body.to_string()).await;
        let states = told["task_instances"].as_array().map_or_else(Vec::new, |rows| {
            rows.iter().map(|row| json!([row["task_id"], row["state"], row["note"]])).collect()
        });
        (status, states)
    };
    let skip = json!({ "new_state": "skipped" });
    assert_eq!(patch("all/dry_run", skip.clone()).await, (200, vec![json!(["all.consume", "success", null])]));
    assert_eq!(patch("all", skip.clone()).await, (200, vec![json!(["all.consume", "skipped", null])]));
    assert_eq!(patch("all", json!({ "note": "seen" })).await, (200, vec![json!(["all.consume", "skipped", "seen"])]));
    let after = json!({ "new_state": "failed", "include_downstream": true });
    let both = vec![json!(["all.consume", "failed", "seen"]), json!(["tell", "failed", null])];
    assert_eq!(patch("all", after).await, (200, both));
    let mask = json!({ "new_state": "success", "include_downstream": true, "note": "not this" });
    let both = vec![json!(["all.consume", "success", "seen"]), json!(["tell", "success", null])];
    assert_eq!(patch("all?update_mask=new_state", mask).await, (200, both));
    assert_eq!(patch("none", skip.clone()).await.0, 404);
    assert_eq!(patch("tell", skip).await.0, 404, "a task is no group");
}
