//! Clients that nobody here wrote: what talks to Airflow talks to us.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};

use local::{child::Program, python};
use serde_json::json;
use tests::server::{ADMIN, Server};

#[tokio::test]
async fn airflows_own_client_walks_every_resource() {
    let server = Server::start("clients", &["--examples"]).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let logs = server.state().logs();
    let requirements = folder.join("requirements.txt");
    let packages = python::Packages::File(&requirements);
    let venv = python::environment("airflow-client", &python::any(), &packages, &logs).await.unwrap();
    let python = venv.join("bin/python");
    let walk = Program::new("walk", python, &logs).args([folder.join("airflow_client_walk.py")]).args([server.url()]);
    let walk = walk.envs([("USERNAME", ADMIN), ("PASSWORD", server.password())]);
    walk.complete().await.unwrap();
    server.stop().await;
}

/// What our document says is what the server does, whatever is sent to it.
#[tokio::test]
async fn our_document_is_true() {
    let server = Server::start("schemathesis", &["--examples"]).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let token = server.token().await.unwrap();
    let http = reqwest::Client::new();
    let send = async |method: &str, path: &str, body: serde_json::Value| {
        let url = format!("{}/api/v2{path}", server.url());
        let request = http.request(method.parse().unwrap(), url).bearer_auth(&token).json(&body);
        request.send().await.unwrap().error_for_status().unwrap();
    };
    send("PATCH", "/dags/example_etl", json!({ "is_paused": false })).await;
    send("POST", "/dags/example_etl/dagRuns", json!({ "dag_run_id": "one", "logical_date": null })).await;
    send("GET", "/dags/example_etl/dagRuns/one/wait?interval=1", json!({})).await;
    for name in ["narrow", "gone"] {
        send("POST", "/pools", json!({ "name": name, "slots": 2 })).await;
    }
    for key in ["region", "gone"] {
        send("POST", "/variables", json!({ "key": key, "value": "eu" })).await;
        send("POST", "/connections", json!({ "connection_id": key, "conn_type": "http", "password": "hunter2" })).await;
    }
    let (from, to) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    send("POST", "/backfills", json!({ "dag_id": "example_daily", "from_date": from, "to_date": to })).await;

    let packages = python::Packages::Named(&["schemathesis==4.32.5"]);
    let venv = python::environment("schemathesis", &python::any(), &packages, &server.state().logs()).await.unwrap();
    let program = Program::new("schemathesis", venv.join("bin/schemathesis"), &server.state().logs());
    let config = folder.join("schemathesis.toml");
    let checks = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance";
    let (url, bearer) = (format!("{}/openapi.json", server.url()), format!("Authorization: Bearer {token}"));
    let program = program.args(["--config-file"]).args([config]).args(["run", &url, "--checks", checks]);
    let said = program.args(["--header", &bearer, "--no-color"]).answer().await.unwrap();
    assert!(said.contains("Tested: 121"), "{said}");
    server.stop().await;
}

/// Airflow's command line for a remote server.
struct Airflowctl<'s> {
    server: &'s Server,
    program: PathBuf,
    home: PathBuf,
}

impl<'s> Airflowctl<'s> {
    async fn signed_in(server: &'s Server) -> Self {
        let packages = python::Packages::Named(&["apache-airflow-ctl==0.1.5"]);
        let venv = python::environment("airflowctl", &python::any(), &packages, &server.state().logs()).await.unwrap();
        let home = server.state().folder("airflowctl").unwrap();
        let ctl = Self { server, program: venv.join("bin/airflowctl"), home };
        let (url, password) = (server.url(), server.password());
        let login = ["auth", "login", "--api-url", &url, "--username", ADMIN, "--password", password];
        assert!(ctl.says(&login).await.contains("Login successful"));
        ctl
    }

    async fn says(&self, arguments: &[&str]) -> String {
        let program = Program::new("airflowctl", &self.program, &self.server.state().logs()).args(arguments);
        // Without a keyring it keeps its token in a file, which it calls debugging.
        let settings = [("AIRFLOW_HOME", self.home.as_os_str()), ("AIRFLOW_CLI_DEBUG_MODE", "true".as_ref())];
        program.envs(settings).output().await.unwrap()
    }

    async fn file(&self, name: &str, contents: &str) -> String {
        let file = self.home.join(name);
        std::fs::write(&file, contents).unwrap();
        file.display().to_string()
    }

    /// What it says is about all of these.
    async fn tells(&self, arguments: &[&str], words: &[&str]) {
        let said = self.says(arguments).await;
        for word in words {
            assert!(said.contains(word), "airflowctl {arguments:?} does not tell {word:?}: {said}");
        }
    }
}

#[tokio::test]
async fn airflowctl_lists_triggers_pauses_backfills_and_imports() {
    let server = Server::start("airflowctl", &["--examples"]).await.unwrap();
    let ctl = Airflowctl::signed_in(&server).await;
    ctl.tells(&["version", "--remote"], &["airflowctl_version"]).await;
    ctl.tells(&["dags", "list", "-o", "json"], &["example_etl", "load_to_bigquery"]).await;
    ctl.tells(&["dags", "unpause", "example_etl"], &["unpause successful example_etl"]).await;
    ctl.tells(&["dags", "trigger", "example_etl", "--dag-run-id", "one"], &["\"dag_run_id\": \"one\"", "manual"]).await;
    ctl.tells(&["dagrun", "get", "example_etl", "one"], &["\"dag_run_id\": \"one\""]).await;
    ctl.tells(&["dags", "pause", "example_etl"], &["pause successful example_etl"]).await;

    let dates = ["--from-date", "2026-01-01T00:00:00Z", "--to-date", "2026-01-02T00:00:00Z", "--max-active-runs", "1"];
    let backfill = [&["backfill", "create", "--dag-id", "example_daily"], &dates[..]].concat();
    ctl.tells(&backfill, &["\"dag_id\": \"example_daily\"", "\"max_active_runs\": \"1\""]).await;
    ctl.tells(&["backfill", "list", "example_daily"], &["2026-01-02T00:00:00Z"]).await;

    let pools = r#"[{"name": "narrow", "slots": 3, "description": "one lane", "include_deferred": false}]"#;
    ctl.tells(&["pools", "import", &ctl.file("pools.json", pools).await], &["narrow"]).await;
    ctl.tells(&["pools", "list"], &["narrow", "one lane"]).await;
    let variables = r#"{"region": "eu", "limits": {"rows": 5}}"#;
    ctl.tells(&["variables", "import", &ctl.file("variables.json", variables).await], &["region", "limits"]).await;
    ctl.tells(&["variables", "list"], &["eu"]).await;
    server.stop().await;
}
