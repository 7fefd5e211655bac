//! Our document beside Airflow's.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use serde_json::Value;
use sqlx::PgPool;

use crate::world::World;

const AIRFLOW: &str = include_str!("../../openapi/airflow.json");

/// What of Airflow's API is not served, by the end of its path, and why. `docs/api.md` tells it to people.
const NOT_SERVED: [(&str, &[&str]); 3] = [
    (
        "there is no such thing here",
        &["state-store", "hitlDetails", "clearPartitions", "parseDagFile", "externalLogUrl"],
    ),
    ("off in Airflow's default configuration", &["connections/test", "connections/defaults", "enqueue-test"]),
    ("a run without some of its tasks could not be told from its graph", &["delete {task_id}"]),
];

/// The schemas that are not Airflow's, and why.
const DIFFERENT: [(&str, &str); 3] = [
    ("ClearTaskInstanceCollectionResponse", "one of two schemas of which one holds the other: nothing would be valid"),
    ("DAGRunClearBody", "without only_new: a clear takes every task of the run"),
    ("BulkDAGRunClearBody", "the same, and there are no partitions"),
];

fn reason(method: &str, path: &str) -> Option<&'static str> {
    let is_meant = |what: &&&str| match what.split_once(' ') {
        Some((of, end)) => of == method && path.ends_with(&format!("/{end}")),
        None => path.contains(**what),
    };
    NOT_SERVED.iter().find(|(_, all)| all.iter().any(|what| is_meant(&what))).map(|(why, _)| *why)
}

/// The path, the method and the rest of each operation.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, operations)| {
        operations
            .as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    });
    all.collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn our_document_is_airflows_without_what_is_not_served(pool: PgPool) {
    let world = World::new(pool).await;
    let (status, text) = world.page("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    let (ours, airflow) =
        (serde_json::from_str::<Value>(&text).unwrap(), serde_json::from_str::<Value>(AIRFLOW).unwrap());
    let mut served = BTreeSet::new();
    for (path, method, operation) in operations(&airflow) {
        let found = ours["paths"][path].get(method);
        assert_eq!(found.is_none(), reason(method, path).is_some(), "{method} {path}");
        let Some(found) = found else { continue };
        served.insert((path, method));
        for part in ["operationId", "requestBody", "tags"] {
            assert_eq!(found[part], operation[part], "{method} {path}");
        }
        let of_success =
            operation["responses"].as_object().unwrap().iter().filter(|(status, _)| status.starts_with('2'));
        for (status, answer) in of_success {
            assert_eq!(found["responses"][status], *answer, "{method} {path}");
        }
        let names = |operation: &Value| -> BTreeSet<String> {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            parameters.map(|parameter| parameter["name"].to_string()).collect()
        };
        assert!(names(found).is_subset(&names(operation)), "{method} {path}");
    }
    let own: Vec<_> = operations(&ours).into_iter().filter(|(path, ..)| !path.starts_with("/api/v2/")).collect();
    assert_eq!((served.len(), own.len()), (105, 16), "a route is gone, or not told");
    let differs = |name: &str| DIFFERENT.iter().any(|(different, _)| *different == name);
    let schemas = ours["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas.iter().filter(|(name, _)| !differs(name)) {
        assert_eq!(schema, &airflow["components"]["schemas"][name], "{name}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_list_refuses_the_parameters_that_our_document_does_not_have(pool: PgPool) {
    let world = World::new(pool).await;
    let ours: Value = serde_json::from_str(&world.page("/openapi.json").await.1).unwrap();
    let airflow: Value = serde_json::from_str(AIRFLOW).unwrap();
    world.call(Method::POST, "/dags/example/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#).await;
    let mut refused = 0;
    for (path, method, operation) in operations(&airflow) {
        if ours["paths"][path].get(method).is_none() {
            continue;
        }
        let has = |name: &Value| {
            let parameters = ours["paths"][path][method]["parameters"].as_array().into_iter().flatten();
            parameters.into_iter().any(|parameter| parameter["name"] == *name)
        };
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if has(&parameter["name"]) {
                continue;
            }
            let path = path.replace("{dag_id}", "example").replace("{dag_run_id}", "mine").replace("{task_id}", "ok");
            let (status, _) = world.page(&format!("{path}?{}=1", parameter["name"].as_str().unwrap())).await;
            assert_eq!(status, StatusCode::NOT_IMPLEMENTED, "{path} {}", parameter["name"]);
            refused += 1;
        }
    }
    assert!(refused > 15, "{refused}");
}

#[sqlx::test(migrations = "../migrations")]
async fn people_read_the_document_as_a_page(pool: PgPool) {
    let world = World::new(pool).await;
    let (status, page) = world.page("/docs").await;
    assert_eq!(status, StatusCode::OK);
    for text in ["/api/v2/dags/{dag_id}/clearTaskInstances", "/auth/token", "TaskInstanceResponse", "DagRunState"] {
        assert!(page.contains(text), "{text}");
    }
}
