//! A team with a repository of its own: it depends on `cli`, `orchestrator` and `operators` by path, writes a DAG, and
//! has the whole program. Its DAG files compile with every warning denied.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    path::Path,
    process::{Command, Output},
};

const MAIN: &str = r#"//! A team's own program.

mod orders;

use orchestrator::dag::Dag;

fn main() -> std::process::ExitCode {
    cli::run(dags())
}

fn dags() -> Vec<Dag> {
    vec![orders::dag()]
}
"#;

const ORDERS: &str = r#"//! Many to many, defaults and overrides, typed handles, an operator.

use std::time::Duration;

use operators::Command;
use orchestrator::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    cents: u64,
}

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("orders").schedule(Schedule::cron_in("0 6 * * *", "Europe/Amsterdam")).retries(2);
    let orders: Task<Vec<Order>> = dag.task("extract", extract);
    let sum = dag.task("summarise", summarise.with(orders)).retries(5).retry_delay(Duration::from_secs(1));
    let [a, b] = ["a", "b"].map(|task| dag.task(task, Command::new("true")));
    let [c, d] = ["c", "d"].map(|task| dag.task(task, Command::new("echo").arg(task)));
    dag.cross([a, b], [c, d]);
    dag.chain(orders >> (a, b));
    dag.chain([c, d] >> dag.task("end", async |_: Context| TaskResult::Ok(())));
    dag.chain(sum >> a);
    dag
}

async fn extract(_: Context) -> TaskResult<Vec<Order>> {
    Ok(vec![Order { cents: 1_000 }, Order { cents: 500 }])
}

async fn summarise(_: Context, orders: Vec<Order>) -> TaskResult<u64> {
    let sum = orders.iter().map(|order| order.cents).sum();
    tracing::info!("{sum} cents");
    Ok(sum)
}
"#;

struct Team<'a> {
    folder: &'a Path,
    target: &'a Path,
}

#[test]
fn it_runs_a_dag_of_its_own() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_workspace(checkout, folder.path());
    let target = checkout.join("target/own-workspace");
    let team = Team { folder: folder.path(), target: &target };

    assert!(team.says(&["dags", "check"]).contains("1 dags, no faults"));
    let run = team.says(&["dags", "test", "orders"]);
    assert!(run.contains("summarise: INFO 1500 cents") && run.contains("end: success"), "{run}");
    let unknown = team.run(&["dags", "test", "other"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("this binary has no dag other; it has orders"));

    // A new DAG is a file and a line, and compiles as it was written.
    team.says(&["dags", "new", "reports"]);
    assert!(team.says(&["dags", "check"]).contains("2 dags, no faults"));
    assert!(team.says(&["dags", "test", "reports"]).contains("tell: success"));

    // Faults are told with the names that they are about, and the exit code says no.
    let faulty = ORDERS
        .replace("dag.chain(sum >> a);", "dag.chain(sum >> a);\n    dag.chain(c >> a);\n    dag.task(\"a\", extract);");
    std::fs::write(folder.path().join("src/orders.rs"), faulty).unwrap();
    let check = team.run(&["dags", "check"]);
    let told = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(!check.status.success());
    assert!(told.contains("dag orders: the tasks a, c wait for each other"), "{told}");
    assert!(told.contains("dag orders: two tasks or groups are called a"), "{told}");

    // What the compiler must refuse: a result of another type.
    std::fs::write(
        folder.path().join("src/orders.rs"),
        ORDERS.replace("orders: Vec<Order>) -> TaskResult<u64>", "orders: Vec<String>) -> TaskResult<u64>"),
    )
    .unwrap();
    let refused = team.run(&["dags", "check"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("error[E"));
}

fn write_workspace(checkout: &Path, folder: &Path) {
    let manifest = format!(
        r#"[package]
name = "team"
version = "0.1.0"
edition = "2024"

[lints.rust]
warnings = "deny"

[dependencies]
cli = {{ path = "{0}/cli" }}
operators = {{ path = "{0}/operators" }}
orchestrator = {{ path = "{0}/orchestrator" }}
serde = {{ version = "1", features = ["derive"] }}
tracing = "0.1"

[profile.dev]
debug = false

[workspace]
"#,
        checkout.display()
    );
    std::fs::create_dir(folder.join("src")).unwrap();
    for (file, contents) in [("Cargo.toml", manifest.as_str()), ("src/main.rs", MAIN), ("src/orders.rs", ORDERS)] {
        std::fs::write(folder.join(file), contents).unwrap();
    }
    // The versions that this repository was tested with.
    std::fs::copy(checkout.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
}

impl Team<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--"])
            .args(arguments)
            .current_dir(self.folder)
            .env("CARGO_TARGET_DIR", self.target)
            .env("SQLX_OFFLINE", "true")
            .env_remove("DATABASE_URL")
            .output()
            .unwrap()
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}\n{out}\n{err}");
        out.into_owned()
    }
}
