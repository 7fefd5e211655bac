//! The command line: on the database, and through a server; and the files of Airflow's.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::server::Server;

/// A file that Airflow's command line wrote.
fn of_airflow(what: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("airflow/{what}.json"))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

async fn says(server: &Server, arguments: &[&str]) -> String {
    server.program().unwrap().args(arguments).answer().await.unwrap()
}

async fn fails(server: &Server, arguments: &[&str]) -> String {
    server.program().unwrap().args(arguments).answer().await.unwrap_err().to_string()
}

#[tokio::test]
async fn the_files_of_airflow_come_in_and_go_out_as_they_are() {
    let server = Server::start("transfer", &[]).await.unwrap();
    for what in ["variables", "pools", "connections"] {
        let file = of_airflow(what);
        let out = server.state().folder("out").unwrap().join(format!("{what}.json"));
        says(&server, &[what, "import", file.to_str().unwrap()]).await;
        says(&server, &[what, "export", out.to_str().unwrap()]).await;
        let read = |file: &Path| {
            let mut all = json(&std::fs::read_to_string(file).unwrap());
            // Text of JSON may have its spaces elsewhere.
            for one in all.as_object_mut().unwrap().values_mut() {
                if let Some(text) = one.get("extra").and_then(Value::as_str) {
                    one["extra"] = json(text);
                }
            }
            all
        };
        assert_eq!(read(&out), read(&file), "{what}");
        assert_eq!(
            std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&out).unwrap()) & 0o077,
            0,
            "only its owner's"
        );
    }
    // What sounds secret is shown to whoever may open the database, by name; never in a list.
    assert_eq!(says(&server, &["variables", "get", "api_key"]).await.trim(), "s3cr3t \"quoted\"");
    assert!(!says(&server, &["variables", "list"]).await.contains("s3cr3t"));
    assert!(!says(&server, &["connections", "get", "warehouse"]).await.contains("p@ss"));
    // A second import changes what is there; a file that is none changes nothing.
    says(&server, &["pools", "set", "narrow", "9"]).await;
    says(&server, &["pools", "import", of_airflow("pools").to_str().unwrap()]).await;
    assert_eq!(json(&says(&server, &["pools", "get", "narrow", "-o", "json"]).await)["slots"], 3);
    assert!(fails(&server, &["pools", "import", "/nowhere"]).await.contains("cannot read /nowhere"));
    server.stop().await;
}

#[tokio::test]
async fn a_server_does_what_the_database_does() {
    let server = Server::start("remote", &["--examples"]).await.unwrap();
    let token = says(&server, &["users", "token", tests::server::ADMIN, "laptop"]).await;
    let envs = [("STREAMCOMMERCE_URL", server.url()), ("STREAMCOMMERCE_TOKEN", token.trim().to_owned())];
    let remote =
        async |arguments: &[&str]| server.stranger().unwrap().args(arguments).envs(envs.clone()).answer().await;
    let here = says(&server, &["dags", "list", "-o", "json"]).await;
    assert_eq!(json(&remote(&["dags", "list", "-o", "json"]).await.unwrap()), json(&here));
    assert!(remote(&["dags", "list", "-o", "yaml"]).await.unwrap().contains("dag_id: example_etl"));

    remote(&["dags", "unpause", "example_etl"]).await.unwrap();
    remote(&["dags", "trigger", "example_etl", "--run-id", "one"]).await.unwrap();
    let followed = remote(&["runs", "wait", "example_etl", "one"]).await.unwrap();
    assert!(followed.contains("load: success") && followed.ends_with("one: success\n"), "{followed}");
    let log = remote(&["tasks", "logs", "example_etl", "one", "extract", "--follow"]).await.unwrap();
    assert!(log.contains("INFO extracted 3 rows"), "{log}");
    assert!(remote(&["tasks", "clear", "example_etl", "one"]).await.unwrap().contains("3 would be cleared"));
    remote(&["dags", "unpause", "example_retry"]).await.unwrap();
    remote(&["dags", "trigger", "example_retry", "--run-id", "one"]).await.unwrap();
    assert!(remote(&["runs", "wait", "example_retry", "one"]).await.is_err(), "a run that fails is told to shells");

    let dates = ["--from-date", "2026-01-01", "--to-date", "2026-01-03", "--dry-run", "-o", "json"];
    let planned = remote(&[&["backfill", "create", "example_daily"], &dates[..]].concat()).await.unwrap();
    assert_eq!(json(&planned).as_array().unwrap().len(), 3);
    remote(&["pools", "set", "narrow", "2", "one lane"]).await.unwrap();
    assert!(says(&server, &["pools", "list"]).await.contains("one lane"));
    let refused = remote(&["variables", "export", "/tmp/never.json"]).await.unwrap_err().to_string();
    assert!(refused.contains("a server never shows secrets"), "{refused}");
    remote(&["users", "create", "grace", "--role", "op"]).await.unwrap();
    says(&server, &["users", "token", "grace", "phone"]).await;
    let tokens = json(&remote(&["users", "tokens", "grace", "-o", "json"]).await.unwrap());
    assert_eq!(tokens[0]["name"], "phone", "{tokens}");
    remote(&["users", "revoke-token", "grace", &tokens[0]["id"].to_string()]).await.unwrap();
    assert_eq!(json(&says(&server, &["users", "tokens", "grace", "-o", "json"]).await), json("[]"));
    remote(&["users", "set-role", "grace", "viewer"]).await.unwrap();
    assert!(
        says(&server, &["users", "list"]).await.lines().any(|line| line.contains("grace") && line.contains("viewer"))
    );
    remote(&["users", "set-role", "grace", "public"]).await.unwrap();
    remote(&["users", "grant", "grace", "example_etl", "user"]).await.unwrap();
    assert!(says(&server, &["users", "list"]).await.contains("example_etl: user"));
    remote(&["users", "revoke", "grace", "example_etl"]).await.unwrap();
    assert!(!says(&server, &["users", "list"]).await.contains("example_etl"));
    remote(&["users", "delete", "grace"]).await.unwrap();
    assert!(!says(&server, &["users", "list"]).await.contains("grace"));
    let settings = remote(&["config", "list"]).await.unwrap();
    assert!(settings.contains("STREAMCOMMERCE_LEASE_SECS") && !settings.contains(token.trim()), "{settings}");
    assert!(remote(&["info"]).await.unwrap().contains("healthy"));
    assert!(says(&server, &["completion", "bash"]).await.contains("_streamcommerce()"));
    server.stop().await;
}

#[tokio::test]
async fn what_airflow_people_type_is_understood() {
    let server = Server::start("typed", &["--examples"]).await.unwrap();
    says(&server, &["dags", "unpause", "example_etl"]).await;
    says(&server, &["dags", "trigger", "example_etl", "--run-id", "one"]).await;
    says(&server, &["runs", "wait", "example_etl", "one"]).await;
    for (typed, said) in [
        (&["dags", "state", "example_etl", "one"][..], "success\n"),
        (&["tasks", "state", "example_etl", "load", "one"], "success\n"),
        (&["dags", "list-runs", "example_etl", "--state", "success"], "one"),
        (&["dags", "details", "example_etl"], "max_active_runs"),
        (&["tasks", "list", "example_etl"], "transform"),
        (&["tasks", "states-for-dag-run", "example_etl", "one"], "extract"),
        (&["dags", "delete", "example_etl"], "example_etl and its 1 runs would be deleted; --yes deletes them"),
    ] {
        let answer = says(&server, typed).await;
        assert!(answer.contains(said), "{typed:?}: {answer}");
    }
    assert!(says(&server, &["db", "check"]).await.starts_with("the database answers"));
    let made = says(&server, &["assets", "materialize", "--name", "warehouse/example_orders"]).await;
    assert!(made.contains(" is queued"), "an asset is made by the DAG whose outlet it is: {made}");
    assert!(fails(&server, &["assets", "materialize", "--name", "nothing"]).await.contains("there is no asset"));
    says(&server, &["dags", "delete", "example_etl", "--yes"]).await;
    assert!(!says(&server, &["runs", "list"]).await.contains("example_etl"), "its runs are gone with it");
    server.stop().await;
}

#[tokio::test]
async fn a_worker_alone_tells_what_it_counts() {
    let server = Server::start("figures", &["--examples", "--queues", "elsewhere"]).await.unwrap();
    says(&server, &["dags", "unpause", "example_etl"]).await;
    says(&server, &["dags", "trigger", "example_etl", "--run-id", "one"]).await;
    let bind = format!("127.0.0.1:{}", server.ports().streaming);
    let arguments = ["worker", "--examples", "--metrics-bind", &bind];
    let worker = server.program().unwrap().args(arguments).spawn(Signal::SIGTERM).unwrap();
    says(&server, &["runs", "wait", "example_etl", "one"]).await;
    let figures = reqwest::get(format!("http://{bind}/metrics")).await.unwrap().text().await.unwrap();
    assert!(figures.contains("streamcommerce_hop_seconds_count"), "{figures}");
    assert!(!figures.contains("streamcommerce_outcomes_total 0\n"), "it ran them: {figures}");
    worker.stop(Duration::from_secs(10)).await;
    server.stop().await;
}
