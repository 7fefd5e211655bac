//! Conditions, order and pages of lists.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

/// Three runs of three days, the second of which is marked as failed.
async fn three_runs(pool: PgPool) -> World {
    let world = World::new(pool).await;
    for day in 1..=3 {
        let at = format!("2026-01-0{day}T00:00:00Z");
        let run = json!({ "logical_date": at, "dag_run_id": format!("day_{day}"), "conf": { "day": day } });
        let (status, made) = world.call(Method::POST, "/dags/example/dagRuns", &run.to_string()).await;
        assert_eq!(status, 200, "{made}");
    }
    let (status, _) = world.call(Method::PATCH, "/dags/example/dagRuns/day_2", r#"{"state": "failed"}"#).await;
    assert_eq!(status, 200);
    world
}

fn ids(list: &Value, plural: &str, id: &str) -> Vec<String> {
    list[plural].as_array().unwrap().iter().map(|row| row[id].as_str().unwrap().to_owned()).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn runs_are_chosen_and_ordered(pool: PgPool) {
    let world = three_runs(pool).await;
    let runs = async |query: &str| {
        let (status, list) = world.get(&format!("/dags/~/dagRuns?{query}")).await;
        assert_eq!(status, 200, "{query}: {list}");
        (ids(&list, "dag_runs", "dag_run_id"), list["total_entries"].as_i64().unwrap())
    };
    let all = ["day_1", "day_2", "day_3"];
    for (query, expected) in [
        ("", &all[..]),
        ("order_by=-logical_date", &["day_3", "day_2", "day_1"]),
        // What has no end comes last, in either direction.
        ("order_by=-end_date&order_by=-run_id", &["day_2", "day_3", "day_1"]),
        ("order_by=end_date&order_by=run_id", &["day_2", "day_1", "day_3"]),
        ("state=failed", &["day_2"]),
        ("state=queued&state=running", &["day_1", "day_3"]),
        ("logical_date_gte=2026-01-02T00:00:00Z", &["day_2", "day_3"]),
        ("logical_date_gt=2026-01-02T00:00:00Z", &["day_3"]),
        ("logical_date_lt=2026-01-02T01:00:00%2B01:00", &["day_1"]),
        ("logical_date_lte=2026-01-02", &["day_1", "day_2"]),
        ("run_id_pattern=DAY_", &all),
        ("run_id_pattern=_2|_3", &["day_2", "day_3"]),
        ("run_id_prefix_pattern=DAY", &[]),
        ("run_id_prefix_pattern=day%5F1", &["day_1"]),
        ("run_id_prefix_pattern=%25", &[]),
        ("dag_id_pattern=amp", &all),
        ("conf_contains=%22day%22:%203", &["day_3"]),
        ("dag_version=1", &all),
        ("dag_version=2", &[]),
        ("run_type=scheduled", &[]),
        ("duration_gte=0", &["day_2"]),
        ("consuming_asset_pattern=orders", &[]),
        ("bundle_version=1", &[]),
        ("partition_key_pattern=%25", &[]),
        ("partition_date_gte=2020-01-01", &[]),
    ] {
        let (found, total) = runs(query).await;
        assert_eq!(found, expected, "{query}");
        assert_eq!(total, expected.len() as i64, "{query}");
    }
    assert_eq!(runs("limit=1&offset=1").await, (vec!["day_2".to_owned()], 3));
    assert_eq!(runs("limit=1&offset=7").await, (vec![], 3), "behind the end the whole is as long as before");
    for (query, status) in [
        ("logical_date_gte=soon", 422),
        ("duration_gte=long", 422),
        ("dag_version=first", 422),
        ("order_by=color", 400),
        ("order_by=id&order_by=r.run_key;--", 400),
        ("updated_at_gte=2026-01-01", 501),
    ] {
        assert_eq!(world.get(&format!("/dags/~/dagRuns?{query}")).await.0, status, "{query}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn long_conditions_are_a_body(pool: PgPool) {
    let world = three_runs(pool).await;
    let post = async |path: &str, body: Value| world.call(Method::POST, path, &body.to_string()).await;
    let body =
        json!({ "dag_ids": ["example"], "states": ["queued", "failed"], "order_by": "-run_id", "page_limit": 1 });
    let (status, list) = post("/dags/~/dagRuns/list", body).await;
    assert_eq!((status, &list["total_entries"]), (200, &json!(3)), "{list}");
    assert_eq!(ids(&list, "dag_runs", "dag_run_id"), ["day_3"]);
    let (_, none) = post("/dags/~/dagRuns/list", json!({ "dag_ids": ["other"] })).await;
    assert_eq!(none["total_entries"], 0);

    let (status, list) = post("/dags/~/dagRuns/~/taskInstances/list", json!({ "task_ids": ["ok"] })).await;
    assert_eq!((status, &list["total_entries"]), (200, &json!(3)), "{list}");
    let body = json!({ "dag_run_ids": ["day_2"], "state": [null], "order_by": "-id" });
    let (status, list) = post("/dags/~/dagRuns/~/taskInstances/list", body).await;
    assert_eq!((status, &list["total_entries"]), (200, &json!(0)), "a run that was marked has none without a state");
    let body = json!({ "dag_run_ids": ["day_3"], "state": [null, "scheduled"] });
    let (_, list) = post("/dags/~/dagRuns/~/taskInstances/list", body).await;
    assert_eq!(ids(&list, "task_instances", "task_id"), ["ok", "boom", "after"]);

    assert_eq!(post("/dags/example/dagRuns/list", json!({})).await.0, 422, "only all DAGs can be asked for");
    assert_eq!(post("/dags/~/dagRuns/list", json!({ "color": 1 })).await.0, 422);
    assert_eq!(post("/dags/~/dagRuns/list", json!({ "states": [{}] })).await.0, 422);
}

#[sqlx::test(migrations = "../migrations")]
async fn dags_are_chosen_and_ordered(pool: PgPool) {
    let world = three_runs(pool).await;
    for (query, expected) in [
        ("", 3),
        ("tags=a&tags=c", 2),
        ("tags=a&tags=c&tags_match_mode=all", 0),
        ("tags=a&tags=b&tags_match_mode=all", 1),
        ("paused=true", 3),
        ("paused=false", 0),
        ("owners=nobody", 0),
        ("last_dag_run_state=queued", 1),
        ("last_dag_run_state=failed", 0),
        ("has_import_errors=true", 0),
        ("has_asset_schedule=true", 1),
        ("asset_dependency=rder", 1),
        ("asset_dependency=none", 0),
        ("timetable_type=AssetTriggeredTimetable", 1),
        ("timetable_type=NullTimetable&timetable_type=AssetTriggeredTimetable", 2),
        ("timetable_type=CronTriggerTimetable", 1),
        ("timetable_type=my.Timetable", 0),
        ("bundle_name=streamcommerce", 3),
        ("bundle_name=dags-folder", 0),
        ("bundle_version=1", 0),
        ("dag_run_state=queued&dag_run_state=failed", 1),
        ("dag_run_state=success", 0),
        ("dag_id_pattern=~", 3),
        ("order_by=-next_dagrun&order_by=last_run_state", 3),
    ] {
        let (status, list) = world.get(&format!("/dags?{query}")).await;
        assert_eq!((status, &list["total_entries"]), (200, &json!(expected)), "{query}: {list}");
    }
    assert_eq!(world.get("/dags?tags=a&tags_match_mode=some").await.0, 422);
}

#[sqlx::test(migrations = "../migrations")]
async fn many_dags_are_paused_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    let patch =
        async |query: &str| world.call(Method::PATCH, &format!("/dags?{query}"), r#"{"is_paused": false}"#).await;
    let (status, none) = patch("tags=a").await;
    assert_eq!((status, &none["total_entries"]), (200, &json!(0)), "without a pattern it is none: {none}");
    let (_, some) = patch("dag_id_pattern=~&tags=a").await;
    assert_eq!((&some["dags"][0]["dag_id"], &some["dags"][0]["is_paused"]), (&json!("example"), &json!(false)));
    assert_eq!(world.get("/dags?paused=false").await.1["total_entries"], 1);
    assert_eq!(patch("dag_id_pattern=~&update_mask=color").await.0, 400);
}
