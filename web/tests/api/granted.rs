//! What somebody may do with single DAGs, and what is theirs alone.

use axum::{body::Body, http::Method};
use chrono::DateTime;
use orchestrator::store::backfills::{self, NewBackfill, Reprocess};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    auth::with_users,
    world::{World, request},
};

#[sqlx::test(migrations = "../migrations")]
async fn what_is_granted_of_one_dag_is_granted_of_no_other(pool: PgPool) {
    let world = with_users(&pool).await;
    let (admin, public) = (world.bearer("admin").await, world.bearer("public").await);
    let run = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    for dag in ["example", "typed"] {
        let path = format!("/api/v2/dags/{dag}/dagRuns");
        assert_eq!(world.call_as(&admin, Method::POST, &path, run).await.0, 200);
    }
    let get = async |path: &str| world.call_as(&public, Method::GET, path, "").await;
    assert_eq!(get("/api/v2/dags").await.1["total_entries"], 0, "nothing is granted yet");

    let grant = "/api/users/public/dags/example";
    assert_eq!(world.call_as(&public, Method::PUT, grant, r#"{"role": "user"}"#).await.0, 403);
    for (path, body, status) in [
        (grant, r#"{"role": "admin"}"#, 400),
        ("/api/users/public/dags/nothing", r#"{"role": "viewer"}"#, 404),
        ("/api/users/nobody/dags/example", r#"{"role": "viewer"}"#, 404),
        (grant, r#"{"role": "viewer"}"#, 200),
    ] {
        assert_eq!(world.call_as(&admin, Method::PUT, path, body).await.0, status, "{path} {body}");
    }

    // Every list of all DAGs has what is granted, and no more.
    for (path, rows) in [
        ("/api/v2/dags", "dags"),
        ("/api/v2/dags?dag_id_pattern=e", "dags"),
        ("/api/v2/dags/~/dagRuns", "dag_runs"),
        ("/api/v2/dags/~/dagRuns/~/taskInstances", "task_instances"),
        ("/api/v2/dagStats", "dags"),
        ("/api/v2/dagStats?dag_ids=typed&dag_ids=example", "dags"),
    ] {
        let (status, answer) = get(path).await;
        let dags: Vec<_> = answer[rows].as_array().unwrap().iter().map(|row| row["dag_id"].as_str().unwrap()).collect();
        assert!(status == 200 && !dags.is_empty() && dags.iter().all(|dag| *dag == "example"), "{path}: {answer}");
    }
    assert_eq!(get("/api/v2/dagStats?dag_ids=typed").await.1["dags"], json!([]));
    for list in ["/api/v2/dags/~/dagRuns/list", "/api/v2/dags/~/dagRuns/~/taskInstances/list"] {
        let (status, answer) = world.call_as(&public, Method::POST, list, r#"{"dag_ids": ["typed"]}"#).await;
        assert_eq!((status, &answer["total_entries"]), (200, &json!(0)), "{list}: {answer}");
    }
    for path in ["/api/v2/dags/example", "/dags/example", "/api/v2/dags/example/dagRuns/mine", "/dags/%65xample"] {
        let ask = request(Method::GET, path).header("authorization", &public).body(Body::empty()).unwrap();
        assert_eq!(world.send(ask).await.0, 200, "{path}");
    }
    for path in [
        "/api/v2/dags/typed",
        "/dags/typed",
        "/dags/typed/runs/mine",
        "/api/v2/dags/typed/dagRuns",
        "/api/v2/dagSources/typed",
        "/api/v2/dags/~/dagRuns/~/taskInstances/~/xcomEntries",
        "/api/v2/eventLogs",
        "/audit",
        "/health",
        "/assets",
        "/dags/~",
    ] {
        let ask = request(Method::GET, path).header("authorization", &public).body(Body::empty()).unwrap();
        assert_eq!(world.send(ask).await.0, 403, "{path}");
    }

    // A viewer of it may not work on it; a user may, and on no other.
    let pause = async |dag: &str| {
        let path = format!("/api/v2/dags/{dag}");
        world.call_as(&public, Method::PATCH, &path, r#"{"is_paused": true}"#).await.0
    };
    assert_eq!(pause("example").await, 403);
    assert_eq!(world.call_as(&admin, Method::PUT, grant, r#"{"role": "user"}"#).await.0, 200);
    assert_eq!((pause("example").await, pause("typed").await), (200, 403));
    let all = world.call_as(&public, Method::PATCH, "/api/v2/dags?dag_id_pattern=~", r#"{"is_paused": true}"#).await;
    assert_eq!(all.0, 403);
    backfills_are_those_of_the_granted_dag(&world, &pool, &public).await;

    assert_eq!(world.call_as(&admin, Method::DELETE, grant, "").await.0, 204);
    assert_eq!(world.call_as(&admin, Method::DELETE, grant, "").await.0, 404);
    assert_eq!(get("/api/v2/dags/example").await.0, 403);
    let (_, log) = world.call_as(&admin, Method::GET, "/api/v2/eventLogs?dag_id=example&order_by=-when", "").await;
    let told: Vec<_> = log["event_logs"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    assert!(told.contains(&json!("grant_dag")) && told.contains(&json!("revoke_dag")), "{log}");
}

/// They name their DAG in the body, or by their number.
async fn backfills_are_those_of_the_granted_dag(world: &World, pool: &PgPool, public: &str) {
    let wanted = |dag: &str| {
        json!({ "dag_id": dag, "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z" }).to_string()
    };
    let make = async |who: &str, path: &str, dag: &str| world.call_as(who, Method::POST, path, &wanted(dag)).await;
    for path in ["/api/v2/backfills", "/api/v2/backfills/dry_run"] {
        assert_eq!(make(public, path, "typed").await.0, 403, "{path}");
    }
    let others = NewBackfill {
        dag_id: &"typed".into(),
        from_date: DateTime::UNIX_EPOCH,
        to_date: DateTime::UNIX_EPOCH,
        conf: &json!({}),
        reprocess: Reprocess::None,
        max_active_runs: 1,
    };
    let others = backfills::insert_if_alone(&mut pool.acquire().await.unwrap(), &others).await.unwrap().unwrap();
    let (status, mine) = make(public, "/api/v2/backfills", "example").await;
    assert_eq!(status, 200, "{mine}");
    let (_, seen) = world.call_as(public, Method::GET, "/api/v2/backfills", "").await;
    assert_eq!((&seen["total_entries"], &seen["backfills"][0]["id"]), (&json!(1), &mine["id"]), "{seen}");
    for (method, deed) in
        [(Method::GET, ""), (Method::PUT, "/pause"), (Method::PUT, "/unpause"), (Method::PUT, "/cancel")]
    {
        for (backfill, status) in [(&json!(others), 403), (&mine["id"], 200)] {
            let path = format!("/api/v2/backfills/{backfill}{deed}");
            assert_eq!(world.call_as(public, method.clone(), &path, "").await.0, status, "{method} {path}");
        }
    }
    let pause = request(Method::POST, &format!("/backfills/{}/pause", json!(others))).header("authorization", public);
    let pause = pause.header("content-type", "application/x-www-form-urlencoded").body(Body::from("back=/dags"));
    assert_eq!(world.send(pause.unwrap()).await.0, 403, "nor on the page");
}

#[sqlx::test(migrations = "../migrations")]
async fn everybody_has_favorites_of_their_own(pool: PgPool) {
    let world = with_users(&pool).await;
    let (admin, viewer) = (world.bearer("admin").await, world.bearer("viewer").await);
    let post = async |who: &str, path: &str| world.call_as(who, Method::POST, path, "").await.0;
    let listed = async |who: &str, wanted: bool| {
        let path = format!("/api/v2/dags?is_favorite={wanted}");
        let (status, list) = world.call_as(who, Method::GET, &path, "").await;
        assert_eq!(status, 200, "{list}");
        list["dags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dag| dag["dag_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(post(&viewer, "/api/v2/dags/typed/favorite").await, 204);
    assert_eq!(post(&viewer, "/api/v2/dags/typed/favorite").await, 204, "it is one already");
    assert_eq!(post(&viewer, "/api/v2/dags/none/favorite").await, 404);
    assert_eq!((listed(&viewer, true).await, listed(&admin, true).await), (vec!["typed".to_owned()], vec![]));
    assert_eq!(listed(&viewer, false).await, ["consumer", "example"]);
    let details = async |who: &str| {
        world.call_as(who, Method::GET, "/api/v2/dags/typed/details", "").await.1["is_favorite"].clone()
    };
    assert_eq!((details(&viewer).await, details(&admin).await), (json!(true), json!(false)));
    assert_eq!(post(&admin, "/api/v2/dags/typed/unfavorite").await, 409);
    assert_eq!(post(&viewer, "/api/v2/dags/typed/unfavorite").await, 204);
    assert!(listed(&viewer, true).await.is_empty());
    // They go with whom they were of.
    assert_eq!(post(&viewer, "/api/v2/dags/typed/favorite").await, 204);
    assert_eq!(world.call_as(&admin, Method::DELETE, "/api/users/viewer", "").await.0, 204);
    let left: i64 = sqlx::query_scalar("select count(*) from dag_favorite").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_granted_run_does_not_tell_of_the_dag_that_caused_it(pool: PgPool) {
    let world = with_users(&pool).await;
    let (admin, public) = (world.bearer("admin").await, world.bearer("public").await);
    for dag in ["typed", "consumer"] {
        let path = format!("/api/v2/dags/{dag}");
        assert_eq!(world.call_as(&admin, Method::PATCH, &path, r#"{"is_paused": false}"#).await.0, 200);
    }
    let grant = "/api/users/public/dags/consumer";
    assert_eq!(world.call_as(&admin, Method::PUT, grant, r#"{"role": "viewer"}"#).await.0, 200);
    let run = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    assert_eq!(world.call_as(&admin, Method::POST, "/api/v2/dags/typed/dagRuns", run).await.0, 200);
    let runs = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            let (_, runs) = world.call_as(&public, Method::GET, "/api/v2/dags/~/dagRuns", "").await;
            if runs["total_entries"] == 1 {
                return runs;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let run = runs.await.unwrap()["dag_runs"][0]["dag_run_id"].as_str().unwrap().replace('+', "%2B");
    let path = format!("/api/v2/dags/consumer/dagRuns/{run}/upstreamAssetEvents");
    let sources = async |bearer: &str| {
        let (_, told) = world.call_as(bearer, Method::GET, &path, "").await;
        (told["asset_events"][0]["source_dag_id"].clone(), told["asset_events"][0]["source_run_id"].clone())
    };
    assert_eq!(sources(&admin).await, (json!("typed"), json!("mine")));
    assert_eq!(sources(&public).await, (Value::Null, Value::Null));
}
