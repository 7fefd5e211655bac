//! Every change stands in the event log: who, what, when, from where. The table has every operation of our document that
//! changes something.

use std::{collections::BTreeSet, net::SocketAddr};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, header},
};
use orchestrator::{
    accounts::{Password, Role},
    commands::{self, By},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use web::Access;

use crate::world::{World, request};

/// What is no change for anybody else, and why.
const NO_CHANGES: [(&str, &str); 7] = [
    ("/list", "it reads"),
    ("/dry_run", "it tells what would be"),
    ("/favorite", "what somebody remembers for themselves"),
    ("/unfavorite", "the same"),
    ("/auth/token", "it has an event of its own: sign_in"),
    ("/auth/token/cli", "the same"),
    ("/api/streaming/reports", "a worker says how it is"),
];

const ONE: &str = "/api/v2/dags/typed/dagRuns/one";

/// A request: its path, its body. `$` is the id in the answer to the latest one that had one.
type Change = (Method, String, Value);

fn v2(path: &str) -> String {
    format!("/api/v2{path}")
}

fn of_run(path: &str) -> String {
    format!("{ONE}{path}")
}

fn run(id: &str) -> Value {
    json!({ "logical_date": null, "dag_run_id": id })
}

fn updated(entity: Value) -> Value {
    json!({ "actions": [{ "action": "update", "entities": [entity] }] })
}

/// One after the other: some need what those before them made.
fn of_runs() -> Vec<Change> {
    vec![
        (Method::PATCH, v2("/dags?dag_id_pattern=typed"), json!({ "is_paused": true })),
        (Method::PATCH, v2("/dags/typed"), json!({ "is_paused": true })),
        (Method::POST, v2("/dags/typed/dagRuns"), run("one")),
        (Method::POST, v2("/dags/consumer/dagRuns"), run("one")),
        (Method::PATCH, ONE.to_owned(), json!({ "note": "a" })),
        (Method::PATCH, v2("/dags/typed/dagRuns"), updated(json!({ "dag_run_id": "one", "note": "b" }))),
        (Method::POST, of_run("/clear"), json!({ "dry_run": false })),
        (
            Method::POST,
            v2("/dags/typed/clearDagRuns"),
            json!({ "dry_run": false, "dag_runs": [{ "dag_run_id": "one" }] }),
        ),
        (Method::POST, v2("/dags/typed/clearTaskInstances"), json!({ "dry_run": false, "dag_run_id": "one" })),
        (Method::PATCH, of_run("/taskInstances/extract"), json!({ "note": "c" })),
        (Method::PATCH, of_run("/taskInstances/extract/-1"), json!({ "new_state": "success" })),
        (Method::PATCH, of_run("/taskInstances"), updated(json!({ "task_id": "load", "new_state": "failed" }))),
        (Method::PATCH, v2("/dags/consumer/dagRuns/one/taskGroupInstances/all"), json!({ "new_state": "success" })),
        (Method::POST, of_run("/taskInstances/extract/xcomEntries"), json!({ "key": "k", "value": 1 })),
        (Method::PATCH, of_run("/taskInstances/extract/xcomEntries/k"), json!({ "value": 2 })),
        (Method::DELETE, of_run("/taskInstances/extract/xcomEntries/k"), Value::Null),
        (Method::DELETE, ONE.to_owned(), Value::Null),
    ]
}

/// What people set.
fn of_settings() -> Vec<Change> {
    vec![
        (Method::POST, v2("/pools"), json!({ "name": "p", "slots": 1 })),
        (Method::PATCH, v2("/pools/p"), json!({ "slots": 2 })),
        (Method::PATCH, v2("/pools"), updated(json!({ "name": "p", "slots": 3 }))),
        (Method::DELETE, v2("/pools/p"), Value::Null),
        (Method::POST, v2("/variables"), json!({ "key": "v", "value": "1" })),
        (Method::PATCH, v2("/variables/v"), json!({ "value": "2" })),
        (Method::PATCH, v2("/variables"), updated(json!({ "key": "v", "value": "3" }))),
        (Method::DELETE, v2("/variables/v"), Value::Null),
        (Method::POST, v2("/connections"), json!({ "connection_id": "c", "conn_type": "http" })),
        (Method::PATCH, v2("/connections/c"), json!({ "conn_type": "https" })),
        (Method::PATCH, v2("/connections"), updated(json!({ "connection_id": "c", "conn_type": "http" }))),
        (Method::DELETE, v2("/connections/c"), Value::Null),
    ]
}

/// The rest.
fn of_assets_backfills_and_users() -> Vec<Change> {
    vec![
        (Method::POST, v2("/assets/events"), json!({ "asset_id": 1 })),
        (Method::DELETE, v2("/dags/consumer/assets/queuedEvents"), Value::Null),
        (Method::DELETE, v2("/dags/consumer/assets/1/queuedEvents"), Value::Null),
        (Method::DELETE, v2("/assets/1/queuedEvents"), Value::Null),
        (Method::POST, v2("/assets/1/materialize"), json!({})),
        (
            Method::POST,
            v2("/backfills"),
            json!({ "dag_id": "example", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z" }),
        ),
        (Method::PUT, v2("/backfills/$/pause"), Value::Null),
        (Method::PUT, v2("/backfills/$/unpause"), Value::Null),
        (Method::PUT, v2("/backfills/$/cancel"), Value::Null),
        (Method::DELETE, v2("/dags/consumer/dagRuns/one"), Value::Null),
        (Method::DELETE, v2("/dags/consumer"), Value::Null),
        (Method::PUT, "/api/signals/paid".to_owned(), json!({ "paid": true })),
        (
            Method::POST,
            "/api/users".to_owned(),
            json!({ "username": "u", "password": "correct horse", "role": "viewer" }),
        ),
        (Method::PATCH, "/api/users/u".to_owned(), json!({ "role": "op" })),
        (Method::PUT, "/api/users/u/dags/example".to_owned(), json!({ "role": "user" })),
        (Method::DELETE, "/api/users/u/dags/example".to_owned(), Value::Null),
        (Method::DELETE, "/api/users/u".to_owned(), Value::Null),
        (Method::POST, "/api/tokens".to_owned(), json!({ "name": "t" })),
        (Method::DELETE, "/api/tokens/1".to_owned(), Value::Null),
        (Method::POST, "/api/tokens".to_owned(), json!({ "name": "t" })),
        (Method::DELETE, "/api/users/ada/tokens/2".to_owned(), Value::Null),
    ]
}

/// The path of the document that a path is of: the one with the fewest parameters.
fn template<'t>(path: &str, templates: &BTreeSet<&'t str>) -> Option<&'t str> {
    let parts: Vec<_> = path.split('?').next().unwrap_or_default().split('/').collect();
    let fits = |template: &&&str| {
        let of: Vec<_> = template.split('/').collect();
        of.len() == parts.len() && of.iter().zip(&parts).all(|(of, part)| of.starts_with('{') || of == part)
    };
    templates.iter().filter(fits).min_by_key(|template| template.matches('{').count()).copied()
}

#[sqlx::test(migrations = "../migrations")]
async fn every_change_is_written_down(pool: PgPool) {
    let world = World::with(pool.clone(), Access::Users).await;
    let password = Password::from("correct horse".to_owned());
    commands::create_user(&mut pool.acquire().await.unwrap(), "ada", &password, Role::Admin, &By::test())
        .await
        .unwrap();
    let form = request(Method::POST, "/auth/token").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let (_, signed) = world.send(form.body(Body::from("username=ada&password=correct+horse")).unwrap()).await;
    let token = serde_json::from_str::<Value>(&signed).unwrap()["access_token"].as_str().unwrap().to_owned();
    let document: Value = serde_json::from_str(&world.page("/openapi.json").await.1).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let templates: BTreeSet<_> = paths.keys().map(String::as_str).collect();
    let mut walked = BTreeSet::new();
    let mut id = String::new();
    for (method, path, body) in [of_runs(), of_settings(), of_assets_backfills_and_users()].concat() {
        let path = path.replace('$', &id);
        if path.ends_with("/queuedEvents") {
            // The scheduler would take it at once: an update of which it does not know yet.
            let queue = "with made as (insert into asset_event (asset) values ('orders') returning event_id)
                         insert into asset_queue (dag_id, event_id, asset) select 'consumer', event_id, 'orders' from made";
            sqlx::query(queue).execute(&pool).await.unwrap();
        }
        let latest = "select coalesce(max(event_id), 0) from event";
        let before: i64 = sqlx::query_scalar(latest).fetch_one(&pool).await.unwrap();
        let asked = request(method.clone(), &path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 1))));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = world.send(asked.body(Body::from(body)).unwrap()).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        id = answer["id"].as_i64().map_or(id, |id| id.to_string());
        let written = "select count(*) from event where event_id > $1 and owner = 'ada' and from_address = '192.0.2.7'
                       and way is not null and now() - happened_at between interval '0' and interval '1 minute'";
        let written: i64 = sqlx::query_scalar(written).bind(before).fetch_one(&pool).await.unwrap();
        assert!(written > 0, "{method} {path} is written down nowhere: who, what, when, from where");
        walked.insert((method.as_str().to_lowercase(), template(&path, &templates).unwrap()));
    }
    let changing = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys().filter(|method| *method != "get" && *method != "parameters");
        methods.map(move |method| (method.clone(), path.as_str()))
    });
    let changing = changing.filter(|(_, path)| !NO_CHANGES.iter().any(|(end, _)| path.ends_with(end)));
    assert_eq!(walked, changing.collect(), "an operation that changes something is not in the table");
}
