//! The orchestrator alone: a Postgres, and `streamcommerce standalone`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use local::{
    child::{Child, Program, built},
    ports::{HOST, Ports},
    postgres::Postgres,
    state::{State, postgres_data_of_root},
};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

const STOP: Duration = Duration::from_secs(5);

/// A server of its own, on free ports, in a folder of its own.
#[derive(Debug)]
pub struct Server {
    state: State,
    ports: Ports,
    postgres: Postgres,
    standalone: Child,
    folder: PathBuf,
    password: String,
    settings: [(&'static str, String); 3],
}

/// The admin of every server.
pub const ADMIN: &str = "ada";

impl Server {
    /// Starts it with more `arguments`, and waits until it knows its DAGs.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(story: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(story, arguments, &[]).await
    }

    /// The same with `more` settings.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start_with(story: &str, arguments: &[&str], more: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
        let folder = checkout.join("target").join(format!("story-{story}-{}", std::process::id()));
        let (state, ports) = (State::take(&folder)?, Ports::free()?);
        let postgres = Postgres::start(&state, ports.postgres).await?;
        let database = postgres.database("streamcommerce").await?;
        let (program, logs, key) = (built("streamcommerce")?, state.logs(), state.secret_key()?);
        let bind = format!("{HOST}:{}", ports.web);
        let settings = [
            ("STREAMCOMMERCE_DATABASE_URL", database),
            ("STREAMCOMMERCE_SECRET_KEY", key),
            ("STREAMCOMMERCE_WEB_BIND", bind.clone()),
        ];
        Program::new("migrate", &program, &logs).args(["db", "migrate"]).envs(settings.clone()).complete().await?;
        let admin = Program::new("admin", &program, &logs).args(["users", "create", ADMIN, "--role", "admin"]);
        let told = admin.envs(settings.clone()).answer().await?;
        let password = told.trim().rsplit(' ').next().context("no password")?.to_owned();
        let standalone = Program::new("standalone", &program, &logs).args(["standalone"]).args(arguments);
        let standalone = standalone.envs(settings.clone()).envs(more.to_vec()).spawn(Signal::SIGTERM)?;
        let mut server = Self { state, ports, postgres, standalone, folder, password, settings };
        server.wait_for_dags().await?;
        Ok(server)
    }

    /// Stops the program, and starts it on the same database with `more` settings and the example DAGs.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart_with(mut self, more: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let standalone = self.program()?.args(["standalone", "--examples"]).envs(more.to_vec());
        self.standalone.stop(STOP).await;
        self.standalone = standalone.spawn(Signal::SIGTERM)?;
        self.wait_for_dags().await?;
        Ok(self)
    }

    async fn wait_for_dags(&mut self) -> anyhow::Result<()> {
        let (url, password) = (self.url(), self.password.clone());
        let knows_dags = async || knows_dags(&url, &password).await.unwrap_or(false);
        self.standalone.wait_until(PATIENCE, knows_dags).await
    }

    /// The password of [`ADMIN`].
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A token of the admin.
    ///
    /// # Errors
    /// The server does not let the admin in.
    pub async fn token(&self) -> anyhow::Result<String> {
        token(&self.url(), &self.password).await
    }

    /// The URL of its database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.settings[0].1
    }

    /// The program on its database.
    ///
    /// # Errors
    /// It is not built.
    pub fn program(&self) -> anyhow::Result<Program> {
        Ok(Program::new("command", built("streamcommerce")?, &self.state.logs()).envs(self.settings.clone()))
    }

    /// The program without its database.
    ///
    /// # Errors
    /// It is not built.
    pub fn stranger(&self) -> anyhow::Result<Program> {
        Ok(Program::new("command", built("streamcommerce")?, &self.state.logs()))
    }

    /// Where it is reached.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{HOST}:{}", self.ports.web)
    }

    /// Its folder.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its ports, and those of parts that it does not start.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Stops it and forgets its data.
    pub async fn stop(self) {
        self.standalone.stop(STOP).await;
        self.postgres.stop().await;
        for folder in [postgres_data_of_root(self.state.root()), self.folder] {
            std::fs::remove_dir_all(folder).ok();
        }
    }
}

/// Whether somebody who signs in finds DAGs.
async fn knows_dags(url: &str, password: &str) -> anyhow::Result<bool> {
    let token = token(url, password).await?;
    Ok(reqwest::Client::new()
        .get(format!("{url}/api/v2/dags/hello"))
        .bearer_auth(token)
        .send()
        .await?
        .status()
        .is_success())
}

async fn token(url: &str, password: &str) -> anyhow::Result<String> {
    let credentials = serde_json::json!({ "username": ADMIN, "password": password });
    let answer = reqwest::Client::new().post(format!("{url}/auth/token")).json(&credentials).send().await?;
    let answer: serde_json::Value = answer.error_for_status()?.json().await?;
    Ok(answer["access_token"].as_str().context("no token")?.to_owned())
}
