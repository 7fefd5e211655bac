//! One command on an empty database: the schema, an admin, a server.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{path::Path, time::Duration};

use local::{
    child::{Program, built},
    ports::{HOST, Ports},
    postgres::Postgres,
    state::{State, postgres_data_of_root},
};
use nix::sys::signal::Signal;
use serde_json::json;

#[tokio::test]
async fn standalone_needs_nothing_but_a_database() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = checkout.join("target").join(format!("story-first-{}", std::process::id()));
    let (state, ports) = (State::take(&folder).unwrap(), Ports::free().unwrap());
    let postgres = Postgres::start(&state, ports.postgres).await.unwrap();
    let database = postgres.database("streamcommerce").await.unwrap();
    let (logs, bind) = (state.logs(), format!("{HOST}:{}", ports.web));
    let program = Program::new("standalone", built("streamcommerce").unwrap(), &logs).args(["standalone"]);
    let settings = [("STREAMCOMMERCE_DATABASE_URL", database), ("STREAMCOMMERCE_WEB_BIND", bind.clone())];
    let mut standalone = program.envs(settings).spawn(Signal::SIGTERM).unwrap();

    let url = format!("http://{bind}");
    let is_up = async || reqwest::get(format!("{url}/api/v2/monitor/health")).await.is_ok();
    standalone.wait_until(Duration::from_secs(60), is_up).await.unwrap();
    let said = standalone.log_tail();
    let told = said.lines().find_map(|line| line.split_once("the user admin was made, with the password "));
    let password = told.unwrap_or_else(|| panic!("no password was told: {said}")).1;
    let credentials = json!({ "username": "admin", "password": password });
    let answer = reqwest::Client::new().post(format!("{url}/auth/token")).json(&credentials).send().await.unwrap();
    assert_eq!(answer.status(), 201);

    standalone.stop(Duration::from_secs(5)).await;
    postgres.stop().await;
    for folder in [postgres_data_of_root(state.root()), folder] {
        std::fs::remove_dir_all(folder).ok();
    }
}
