//! One command on an empty database: the schema, an admin, a server.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use local::{
    child::{Child, Program, built},
    ports::{HOST, Ports},
    postgres::Postgres,
    state::{State, postgres_data_of_root},
};
use nix::sys::signal::Signal;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

const STOP: Duration = Duration::from_secs(5);

/// An empty database, and what starts on it.
struct World {
    folder: PathBuf,
    state: State,
    ports: Ports,
    postgres: Postgres,
    database: String,
}

impl World {
    async fn new(story: &str) -> Self {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let folder = checkout.join("target").join(format!("story-{story}-{}", std::process::id()));
        let (state, ports) = (State::take(&folder).unwrap(), Ports::free().unwrap());
        let postgres = Postgres::start(&state, ports.postgres).await.unwrap();
        let database = postgres.database("streamcommerce").await.unwrap();
        Self { folder, state, ports, postgres, database }
    }

    fn standalone(&self, host: &str) -> Program {
        let program = Program::new("standalone", built("streamcommerce").unwrap(), &self.state.logs());
        program.args(["standalone"]).envs([
            ("STREAMCOMMERCE_DATABASE_URL", self.database.clone()),
            ("STREAMCOMMERCE_WEB_BIND", format!("{host}:{}", self.ports.web)),
        ])
    }

    fn url(&self, path: &str) -> String {
        format!("http://{HOST}:{}{path}", self.ports.web)
    }

    /// Starts it; what it says until it answers.
    async fn up(&self, program: Program) -> (Child, String) {
        let mut standalone = program.spawn(Signal::SIGTERM).unwrap();
        let is_up = async || reqwest::get(self.url("/api/v2/monitor/health")).await.is_ok();
        standalone.wait_until(PATIENCE, is_up).await.unwrap();
        let said = standalone.log_tail();
        (standalone, said)
    }

    async fn signs_in(&self, password: &str) -> u16 {
        let credentials = json!({ "username": "admin", "password": password });
        let post = reqwest::Client::new().post(self.url("/auth/token")).json(&credentials);
        post.send().await.unwrap().status().as_u16()
    }

    async fn end(self) {
        self.postgres.stop().await;
        for folder in [postgres_data_of_root(self.state.root()), self.folder] {
            std::fs::remove_dir_all(folder).ok();
        }
    }
}

#[tokio::test]
async fn standalone_needs_nothing_but_a_database() {
    let world = World::new("first").await;
    let (standalone, said) = world.up(world.standalone(HOST)).await;
    let told = said.lines().find_map(|line| line.split_once("the user admin was made, with the password "));
    let password = told.unwrap_or_else(|| panic!("no password was told: {said}")).1;
    assert_eq!(world.signs_in(password).await, 201);
    standalone.stop(STOP).await;
    world.end().await;
}

#[tokio::test]
async fn elsewhere_a_setting_is_the_password_of_the_first_admin() {
    let world = World::new("elsewhere").await;
    let key = ("STREAMCOMMERCE_SECRET_KEY", world.state.secret_key().unwrap());
    let everywhere = |more: &[(&'static str, String)]| world.standalone("0.0.0.0").envs(more.to_vec());
    let with = |password: &str| vec![key.clone(), ("STREAMCOMMERCE_ADMIN_PASSWORD", password.to_owned())];
    for (settings, asks_for) in [
        (vec![], "set STREAMCOMMERCE_SECRET_KEY"),
        (vec![key.clone()], "there is no admin: set STREAMCOMMERCE_ADMIN_PASSWORD"),
        (with(""), "there is no admin: set STREAMCOMMERCE_ADMIN_PASSWORD"),
        (with("short"), "cannot make the user admin with STREAMCOMMERCE_ADMIN_PASSWORD: "),
    ] {
        let refused = everywhere(&settings).answer().await.unwrap_err().to_string();
        assert!(refused.contains(asks_for), "{asks_for}: {refused}");
    }
    let (standalone, said) = world.up(everywhere(&with("correct horse"))).await;
    assert!(said.contains("the user admin was made") && !said.contains("correct horse"), "{said}");
    assert_eq!(world.signs_in("correct horse").await, 201);
    standalone.stop(STOP).await;
    let (standalone, _) = world.up(everywhere(&with("another password"))).await;
    assert_eq!(world.signs_in("another password").await, 401, "it is for a first start");
    assert_eq!(world.signs_in("correct horse").await, 201);
    standalone.stop(STOP).await;
    world.end().await;
}
