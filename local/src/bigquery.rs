//! The BigQuery emulator and dbt: Python programs in pinned environments of their own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use nix::sys::signal::Signal;

use crate::{
    child::{Child, Program},
    ports::{HOST, Ports},
    python::{self, Packages},
    state::State,
};

/// The project that the emulator serves.
pub const PROJECT: &str = "local";

const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(3);

/// An emulator that runs.
#[derive(Debug)]
pub struct BigQuery {
    child: Child,
}

impl BigQuery {
    /// Makes its environment if it is not there.
    ///
    /// # Errors
    /// There is no Python 3.13, or pip fails.
    pub async fn fetch(checkout: &Path, state: &State) -> anyhow::Result<PathBuf> {
        let requirements = checkout.join("local/bigquery/requirements.txt");
        python::environment("bigquery", &python::python_3_13(), &Packages::File(&requirements), &state.logs()).await
    }

    /// Starts it over the objects of the GCS emulator in `objects`.
    ///
    /// # Errors
    /// It does not start; its log is in the message.
    pub async fn start(checkout: &Path, state: &State, ports: &Ports, objects: &Path) -> anyhow::Result<Self> {
        let environment = Self::fetch(checkout, state).await?;
        let (data, home) = (state.root().join("bigquery"), state.folder("bigquery-home")?);
        let (port, grpc) = (ports.bigquery.to_string(), ports.bigquery_grpc.to_string());
        let mut child = Program::new("bigquery", environment.join("bin/python"), &state.logs())
            .args([checkout.join("local/bigquery/emulator.py")])
            .args(["serve", "--host", HOST, "--port", &port, "--grpc-port", &grpc])
            .args(["--project", PROJECT, "--dataset", "scratch", "--data-dir"])
            .args([&data])
            .envs([("HOME", &home)])
            .envs([("GCS_LOCAL_ROOT", objects)])
            .spawn(Signal::SIGTERM)?;
        // The port opens earlier than the engine behind it.
        let url = format!("http://{HOST}:{port}/bigquery/v2/projects/{PROJECT}/datasets");
        let is_up = async || reqwest::get(&url).await.is_ok_and(|response| response.status().is_success());
        child.wait_until(START, is_up).await?;
        Ok(Self { child })
    }

    /// The child process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.child.stop(STOP).await;
    }
}

/// The `dbt` program, in an environment of its own.
///
/// # Errors
/// There is no Python that dbt runs on, or pip fails.
pub async fn dbt(checkout: &Path, state: &State) -> anyhow::Result<PathBuf> {
    let requirements = checkout.join("dbt/requirements.txt");
    let environment = python::environment("dbt", &python::any(), &Packages::File(&requirements), &state.logs()).await;
    Ok(environment.context("dbt")?.join("bin/dbt"))
}
