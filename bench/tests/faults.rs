//! A short run of the faults; `cargo run --release -p bench -- faults` is the long one.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::process::Command;

const ROUNDS: &str = "8";

#[test]
fn a_few_rounds_of_faults_leave_the_books_right() {
    let harness =
        Command::new(env!("CARGO_BIN_EXE_bench")).args(["faults", "--rounds", ROUNDS, "--seed", "7"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&harness.stdout), String::from_utf8_lossy(&harness.stderr));
    assert!(harness.status.success(), "{out}\n{err}");
    let report: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(report["hits"].as_u64().unwrap() >= 4, "{report}");
}

#[test]
fn a_few_rounds_of_faults_leave_the_bucket_right() {
    let arguments = ["stream-faults", "--rounds", ROUNDS, "--seed", "7"];
    let harness = Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&harness.stdout), String::from_utf8_lossy(&harness.stderr));
    assert!(harness.status.success(), "{out}\n{err}");
    let report: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(report["hits"].as_u64().unwrap() >= 4, "{report}");
}
