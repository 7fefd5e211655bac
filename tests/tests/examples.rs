//! Each example DAG does what its lesson says, on a server.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::server::Server;

/// How each task of each example ends, when nobody but this test does anything: `task[index]=state`.
const ENDS: [(&str, &str); 15] = [
    ("example_asset_consumer", "read=success"),
    ("example_asset_producer", "write=success"),
    ("example_branching", "append=success choose=success join=success reload=skipped"),
    ("example_callbacks", "fails=failed flaky=success"),
    ("example_daily", "day=success"),
    ("example_etl", "extract=success load=success transform=success"),
    (
        "example_groups",
        "begin=success join=success orders.check=success orders.read=success users.check=success users.read=success",
    ),
    ("example_isolation", "where=success"),
    ("example_mapping", "letters[0]=success letters[1]=success letters[2]=success sum=success words=success"),
    ("example_new_files", "look=success"),
    ("example_params", "greet=success"),
    ("example_pools", "a=success b=success c=success d=success first=success"),
    ("example_retry", "after=upstream_failed boom=failed ok=success"),
    ("example_sensors", "done=success listens=success looks=success sleeps=success"),
    ("example_slow", "after=success nap=success"),
];

/// The server, and the API as a program asks it.
struct Asked {
    server: Server,
    client: reqwest::Client,
    token: String,
}

impl Asked {
    async fn start() -> Self {
        let server = Server::start("examples", &["--examples"]).await.unwrap();
        let token = server.token().await.unwrap();
        Self { server, client: reqwest::Client::new(), token }
    }

    async fn says(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.server.program().unwrap().args(arguments).answer().await
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let asked = self.client.request(method, format!("{}{path}", self.server.url())).bearer_auth(&self.token);
        let answer = asked.json(&body).send().await.unwrap().error_for_status().unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Value {
        let asked = self.client.get(format!("{}/api/v2{path}", self.server.url())).bearer_auth(&self.token);
        serde_json::from_str(&asked.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    /// How the tasks of the run `one` are.
    async fn states(&self, dag: &str) -> String {
        let tasks = self.get(&format!("/dags/{dag}/dagRuns/one/taskInstances?limit=100")).await;
        let states = tasks["task_instances"].as_array().unwrap().iter().map(|task| {
            let index = task["map_index"].as_i64().filter(|index| *index >= 0);
            let index = index.map(|index| format!("[{index}]")).unwrap_or_default();
            format!("{}{index}={}", task["task_id"].as_str().unwrap(), task["state"].as_str().unwrap_or("none"))
        });
        states.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
    }

    async fn tries(&self, dag: &str, task: &str) -> i64 {
        let found = self.get(&format!("/dags/{dag}/dagRuns/one/taskInstances/{task}")).await;
        found["try_number"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn every_example_ends_as_its_lesson_says() {
    let asked = Asked::start().await;
    let listed = asked.get("/dags?dag_id_prefix_pattern=example_&limit=100").await;
    let listed: BTreeSet<_> =
        listed["dags"].as_array().unwrap().iter().map(|dag| dag["dag_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, ENDS.iter().map(|(dag, _)| (*dag).to_owned()).collect(), "an example is not in the table");
    for (dag, _) in ENDS {
        asked.says(&["dags", "unpause", dag]).await.unwrap();
        asked.says(&["dags", "trigger", dag, "--run-id", "one"]).await.unwrap();
    }
    // The two that wait for somebody: a signal, and an operator who has no two minutes.
    asked.send(reqwest::Method::PUT, "/api/signals/one", json!({ "paid": true })).await;
    let nap = "/api/v2/dags/example_slow/dagRuns/one/taskInstances/nap";
    asked.send(reqwest::Method::PATCH, nap, json!({ "new_state": "success" })).await;

    let mut ends = BTreeMap::new();
    for (dag, expected) in ENDS {
        let ended = asked.says(&["runs", "wait", dag, "one"]).await;
        assert_eq!(ended.is_ok(), !expected.contains("=failed"), "{dag}");
        ends.insert(dag, asked.states(dag).await);
    }
    assert_eq!(ends, ENDS.iter().map(|(dag, states)| (*dag, (*states).to_owned())).collect());
    assert_eq!(asked.tries("example_callbacks", "flaky").await, 2, "it fails once, and is tried again");
    assert_eq!(asked.tries("example_retry", "boom").await, 1, "it has no retries");
    let value = "/dags/example_mapping/dagRuns/one/taskInstances/sum/xcomEntries/return_value";
    assert_eq!(asked.get(value).await["value"], json!("fastsimpleright".len()));
    let log = asked.says(&["tasks", "logs", "example_isolation", "one", "where"]).await.unwrap();
    let process = log.trim().rsplit(' ').next().unwrap();
    let worker = asked.get("/dags/example_isolation/dagRuns/one/taskInstances/where").await["pid"].clone();
    assert_ne!(json!(process.parse::<i64>().unwrap()), worker, "a process of its own: {log}");
    asked.server.stop().await;
}
