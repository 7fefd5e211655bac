//! Everything but migrations and LISTEN through `PgBouncer` in transaction mode, with a direct way for wake-ups and without.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use local::{
    child::{Child, Program, RunAs},
    ports::{HOST, Ports},
};
use nix::{sys::signal::Signal, unistd};
use serde_json::Value;
use tests::server::Server;

/// The first that knows prepared statements in transaction mode.
const OLDEST: (u32, u32) = (1, 21);

#[tokio::test]
async fn tasks_run_through_pgbouncer_in_transaction_mode() {
    let Some(program) = pgbouncer() else {
        // Not by `eprintln`, which the test runner keeps to itself when a test passes.
        let (major, minor) = OLDEST;
        writeln!(std::io::stderr(), "SKIPPED: there is no pgbouncer {major}.{minor} or newer").unwrap();
        return;
    };
    let mut server = Server::start("pgbouncer", &["--examples"]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (bouncer, through) = start(&program, &folder, &server).await;
    let direct = server.database().to_owned();
    for direct in [direct.as_str(), "none"] {
        let settings = [
            ("STREAMCOMMERCE_DATABASE_URL", through.clone()),
            ("STREAMCOMMERCE_DIRECT_DATABASE_URL", direct.to_owned()),
        ];
        server = server.restart_with(&settings).await.unwrap();
        for dag in ["example_etl", "example_mapping"] {
            assert_eq!(ends(&server, dag).await, "success", "{dag}, wake-ups by {direct}");
        }
    }
    let log = std::fs::read_to_string(server.state().logs().join("pgbouncer.log")).unwrap();
    assert!(log.contains("new connection to server"), "nothing went through it: {log}");
    server.stop().await;
    bouncer.stop(Duration::from_secs(5)).await;
}

/// Its place, if it is there and new enough.
fn pgbouncer() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps it where a user's PATH does not lead.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let program = folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())?;
    let told = std::process::Command::new(&program).arg("--version").output().ok()?;
    let version = String::from_utf8(told.stdout).ok()?;
    let mut numbers = version.lines().next()?.strip_prefix("PgBouncer ")?.split('.').map(|part| part.parse().ok());
    ((numbers.next()??, numbers.next()??) >= OLDEST).then_some(program)
}

/// Starts it in front of the server's Postgres, and says how its database is reached through it.
async fn start(program: &Path, folder: &tempfile::TempDir, server: &Server) -> (Child, String) {
    let port = Ports::free().unwrap().postgres;
    let settings = folder.path().join("pgbouncer.ini");
    let text = format!(
        "[databases]\n* = host={HOST} port={} user=app\n[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = any\npool_mode = transaction\nmax_prepared_statements = 200\ndefault_pool_size = 5\n",
        server.ports().postgres
    );
    std::fs::write(&settings, text).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    // It refuses to be root.
    let run_as = match unistd::geteuid().is_root() {
        true => RunAs::User { user: "65534".to_owned(), group: "65534".to_owned() },
        false => RunAs::Myself,
    };
    let bouncer = Program::new_as("pgbouncer", program, &server.state().logs(), &run_as).args([settings]);
    let mut bouncer = bouncer.spawn(Signal::SIGINT).unwrap();
    let listens = async || tokio::net::TcpStream::connect((HOST, port)).await.is_ok();
    bouncer.wait_until(Duration::from_secs(30), listens).await.unwrap();
    (bouncer, server.database().replace(&format!(":{}/", server.ports().postgres), &format!(":{port}/")))
}

/// Triggers the DAG and waits for the end of its run.
async fn ends(server: &Server, dag: &str) -> String {
    let (http, url) = (reqwest::Client::new(), format!("{}/api/v2/dags/{dag}", server.url()));
    let token = server.token().await.unwrap();
    let send = async |request: reqwest::RequestBuilder| -> Value {
        request.bearer_auth(&token).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    };
    send(http.patch(&url).json(&serde_json::json!({ "is_paused": false }))).await;
    let run = send(http.post(format!("{url}/dagRuns")).json(&serde_json::json!({ "logical_date": null }))).await;
    let run = format!("{url}/dagRuns/{}", run["dag_run_id"].as_str().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let state = send(http.get(&run)).await["state"].as_str().unwrap().to_owned();
            if state == "success" || state == "failed" {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    ended.await.unwrap()
}
