//! `make up` without the build: what it tells, what it leaves behind when it is stopped or killed, and how it goes on.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use local::{child::built, ports::Ports, state::postgres_data_of_root};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tokio::io::{AsyncBufReadExt, BufReader};

const PATIENCE: Duration = Duration::from_secs(120);

/// One `make up`, and everything that descends from it: all of them carry the mark in their environment.
struct Up {
    process: tokio::process::Child,
    said: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

struct Place {
    folder: PathBuf,
    ports: Ports,
    mark: String,
}

#[tokio::test]
async fn it_leaves_nothing_behind_and_goes_on_where_it_was() {
    let place = Place::new();

    // Stopped by Ctrl-C: when it ends, all that it started has ended.
    let mut up = place.up().await;
    up.says("the pages:").await;
    let run = place.trigger().await;
    assert!(place.left().len() > 5, "{:?}", place.left());
    place.others_are_refused();
    up.signal(Signal::SIGINT);
    let ended = tokio::time::timeout(PATIENCE, up.process.wait()).await.unwrap().unwrap();
    assert!(ended.success());
    assert_eq!(place.left(), Vec::<String>::new());

    // Killed: the kernel ends the rest.
    let mut up = place.up().await;
    up.says("the pages:").await;
    up.signal(Signal::SIGKILL);
    up.process.wait().await.unwrap();
    let gone = tokio::time::timeout(PATIENCE, async {
        while !place.left().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    gone.await.unwrap();
    assert!(place.folder.join("lock").exists(), "a kill leaves its files");

    // The next one copes with what is stale, and knows what was.
    let mut up = place.up().await;
    up.says("the pages:").await;
    assert_eq!(place.get(&format!("/dags/hello/dagRuns/{run}")).await["dag_run_id"], run);
    up.signal(Signal::SIGTERM);
    assert!(up.process.wait().await.unwrap().success());
    assert_eq!(place.left(), Vec::<String>::new());

    let clean = place.local("clean").output().unwrap();
    assert!(clean.status.success());
    assert!(!place.folder.exists() && !postgres_data_of_root(&place.folder).exists(), "clean forgets everything");
}

#[test]
fn a_missing_package_is_one_line_to_copy() {
    let checkout = tempfile::tempdir().unwrap();
    let bin = checkout.path().join("bin");
    std::fs::create_dir_all(checkout.path().join("local")).unwrap();
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy(repository().join("local/check.sh"), checkout.path().join("local/check.sh")).unwrap();
    // All that is installed here, but for two programs that the check looks for, and sudo.
    for program in std::fs::read_dir("/usr/bin").unwrap().map(|entry| entry.unwrap().path()) {
        let name = program.file_name().unwrap().to_owned();
        if !["mvn", "cmake", "sudo"].contains(&name.to_str().unwrap()) {
            symlink(program, bin.join(name)).unwrap();
        }
    }
    let script = checkout.path().join("local/check.sh");
    let mut check = if geteuid().is_root() {
        // Root would install them.
        std::fs::set_permissions(checkout.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(&script);
        nobody
    } else {
        Command::new(&script)
    };
    let output = check.arg("up").env_clear().env("PATH", &bin).env("HOME", "/nonexistent").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let line = "apt-get install -y --no-install-recommends ";
    let packages = told.lines().find_map(|told| told.split_once(line)).unwrap().1;
    assert!(["cmake", "maven"].iter().all(|package| packages.split(' ').any(|named| named == *package)), "{told}");
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

impl Place {
    fn new() -> Self {
        let mark = format!("story-supervisor-{}", std::process::id());
        let folder = repository().join("target").join(&mark);
        Self { folder, ports: Ports::free().unwrap(), mark }
    }

    fn local(&self, command: &str) -> Command {
        let mut local = Command::new(built("local").unwrap());
        local.arg(command).env("STREAMCOMMERCE_STATE", &self.folder).env("STREAMCOMMERCE_STORY", &self.mark);
        for (part, port) in [
            ("WEB", self.ports.web),
            ("POSTGRES", self.ports.postgres),
            ("KAFKA", self.ports.kafka),
            ("KAFKA_CONTROLLER", self.ports.kafka_controller),
            ("STREAMING", self.ports.streaming),
            ("GCS", self.ports.gcs),
            ("BIGQUERY", self.ports.bigquery),
            ("BIGQUERY_GRPC", self.ports.bigquery_grpc),
        ] {
            local.env(format!("STREAMCOMMERCE_{part}_PORT"), port.to_string());
        }
        local
    }

    async fn up(&self) -> Up {
        let mut command = tokio::process::Command::from(self.local("up"));
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        Up { process, said }
    }

    /// A second one is refused, in a sentence that says what to do.
    fn others_are_refused(&self) {
        let told = |output: Output| {
            assert!(!output.status.success());
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let same = told(self.local("up").output().unwrap());
        assert!(same.contains("another `make up` runs on") && same.contains("STREAMCOMMERCE_STATE"), "{same}");
        let elsewhere = tempfile::tempdir().unwrap();
        let ports = told(self.local("up").env("STREAMCOMMERCE_STATE", elsewhere.path()).output().unwrap());
        let taken = format!("port {} is taken: free it, or set STREAMCOMMERCE_WEB_PORT", self.ports.web);
        assert!(ports.contains(&taken), "{ports}");
        assert!(!told(self.local("clean").output().unwrap()).is_empty(), "clean under a running stack");
    }

    /// The programs that carry the mark.
    fn left(&self) -> Vec<String> {
        let mark = format!("STREAMCOMMERCE_STORY={}", self.mark);
        let is_ours = |process: &PathBuf| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let ours = processes.filter(is_ours).map(|process| std::fs::read_to_string(process.join("cmdline")));
        ours.map(|command| command.unwrap_or_default().replace('\0', " ")).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v2{path}", self.ports.web)
    }

    async fn get(&self, path: &str) -> serde_json::Value {
        reqwest::get(self.url(path)).await.unwrap().json().await.unwrap()
    }

    async fn trigger(&self) -> String {
        let body = serde_json::json!({ "logical_date": null, "dag_run_id": "before" });
        let answer = reqwest::Client::new().post(self.url("/dags/hello/dagRuns")).json(&body).send().await.unwrap();
        assert!(answer.status().is_success());
        "before".to_owned()
    }
}

impl Up {
    async fn says(&mut self, text: &str) {
        let seen = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("it ended without saying {text:?}");
        });
        seen.await.unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id().unwrap()).unwrap()), signal).unwrap();
    }
}
