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

/// A server of its own, on free ports, in a folder of its own.
#[derive(Debug)]
pub struct Server {
    state: State,
    ports: Ports,
    postgres: Postgres,
    standalone: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts it with more `arguments`, and waits until it knows its DAGs.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(story: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
        let folder = checkout.join("target").join(format!("story-{story}-{}", std::process::id()));
        let (state, ports) = (State::take(&folder)?, Ports::free()?);
        let postgres = Postgres::start(&state, ports.postgres).await?;
        let database = postgres.database("streamcommerce").await?;
        let (program, logs, key) = (built("streamcommerce")?, state.logs(), state.secret_key()?);
        let bind = format!("{HOST}:{}", ports.web);
        let settings = [
            ("STREAMCOMMERCE_DATABASE_URL", database.as_str()),
            ("STREAMCOMMERCE_SECRET_KEY", key.as_str()),
            ("STREAMCOMMERCE_WEB_BIND", bind.as_str()),
        ];
        Program::new("migrate", &program, &logs).args(["db", "migrate"]).envs(settings).complete().await?;
        let standalone =
            Program::new("standalone", &program, &logs).args(["standalone"]).args(arguments).envs(settings);
        let mut standalone = standalone.spawn(Signal::SIGTERM)?;
        let dag = format!("http://{bind}/api/v2/dags/hello");
        let is_up = async || reqwest::get(&dag).await.is_ok_and(|answer| answer.status().is_success());
        standalone.wait_until(PATIENCE, is_up).await?;
        Ok(Self { state, ports, postgres, standalone, folder })
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
        self.standalone.stop(Duration::from_secs(5)).await;
        self.postgres.stop().await;
        for folder in [postgres_data_of_root(self.state.root()), self.folder] {
            std::fs::remove_dir_all(folder).ok();
        }
    }
}
