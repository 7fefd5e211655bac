//! `make up`: the stack, the programs, and a few readable lines about how they do, until Ctrl-C.

use std::{collections::BTreeMap, io::Write, path::Path, time::Duration};

use anyhow::Context;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{
    child::Child,
    ports::{HOST, Ports},
    stack::Stack,
    state::State,
};

/// The flagship.
const DAG: &str = "load_to_bigquery";

/// How often to look.
const LOOK: Duration = Duration::from_secs(2);

/// How long each program has to stop.
const STOP: Duration = Duration::from_secs(3);

/// How long the pages may take to answer.
const WEB_START: Duration = Duration::from_secs(30);

struct Programs {
    standalone: Child,
    worker: Child,
    shop: Child,
}

/// Runs everything until SIGINT or SIGTERM.
///
/// # Errors
/// A part or a program does not start, or ends by itself; the end of its log is in the message.
pub async fn run(checkout: &Path, state: &Path) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let begun = Instant::now();
    let tell = |line: &str| say(&format!("== {line} ({} s)", begun.elapsed().as_secs()));
    let ports = Ports::from_env()?;
    let state = State::take(state)?;
    ports.check_free().await?;
    let starting = async {
        let mut stack = Stack::start(checkout, state, ports, tell).await?;
        tell("starting the worker, the shop and streamcommerce");
        let programs = Programs::start(&mut stack).await?;
        anyhow::Ok((stack, programs))
    };
    // Dropping what was started so far ends it.
    let (mut stack, mut programs) = tokio::select! {
        started = starting => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    tell("it runs");
    say(&format!(
        "\n   the pages:  {}\n   streaming:  http://{HOST}:{}/metrics\n   the logs:   {}\n   Ctrl-C stops it\n",
        stack.web(),
        stack.ports().streaming,
        stack.state().logs().display()
    ));
    let watched = tokio::select! {
        result = watch(&mut stack, &mut programs) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    say("== stopping");
    programs.stop().await;
    stack.stop().await;
    watched
}

impl Programs {
    async fn start(stack: &mut Stack) -> anyhow::Result<Self> {
        let mut standalone = stack.streamcommerce("streamcommerce", &["standalone"])?.spawn(Signal::SIGTERM)?;
        // Its scheduler registers the DAGs a moment after the pages are up.
        let dag = format!("{}/api/v2/dags/{DAG}", stack.web());
        let is_up = async || reqwest::get(&dag).await.is_ok_and(|response| response.status().is_success());
        standalone.wait_until(WEB_START, is_up).await?;
        let listen = format!("{HOST}:{}", stack.ports().streaming);
        let worker = ["worker", "--rotate-secs", "15", "--listen", &listen];
        let worker = stack.streaming("streaming-worker", &worker)?.spawn(Signal::SIGTERM)?;
        let shop = stack.streaming("streaming-produce", &["produce"])?.spawn(Signal::SIGTERM)?;
        Ok(Self { standalone, worker, shop })
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        self.standalone.check_alive()?;
        self.worker.check_alive()?;
        self.shop.check_alive()
    }

    async fn stop(self) {
        futures::join!(self.shop.stop(STOP), self.worker.stop(STOP), self.standalone.stop(STOP));
    }
}

/// Says what changed, and lets the DAG begin when there is something to load.
async fn watch(stack: &mut Stack, programs: &mut Programs) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    let (mut begun, mut told) = (false, BTreeMap::new());
    loop {
        stack.check_alive()?;
        programs.check_alive()?;
        if !begun && has_files(stack) {
            begin(&http, &stack.web()).await?;
            say("the first files are committed: the dag load_to_bigquery is on");
            begun = true;
        }
        match runs(&http, &stack.web()).await {
            Ok(runs) => {
                for (run, state) in runs {
                    if told.insert(run.clone(), state.clone()) != Some(state.clone()) {
                        say(&format!("{run}: {state}"));
                    }
                }
            }
            Err(error) => tracing::debug!("{error:#}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether any file has been published. The emulator keeps objects as plain files.
fn has_files(stack: &Stack) -> bool {
    stack.state().root().join("gcs").join(crate::stack::BUCKET).join("events_data").exists()
}

/// Unpauses the DAG: it begins paused, as in Airflow, and its latest slot is due at once.
async fn begin(http: &reqwest::Client, web: &str) -> anyhow::Result<()> {
    let dag = format!("{web}/api/v2/dags/{DAG}");
    let answer = http.patch(dag).json(&serde_json::json!({ "is_paused": false })).send().await?;
    answer.error_for_status().context("cannot unpause the dag")?;
    Ok(())
}

async fn runs(http: &reqwest::Client, web: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let runs = format!("{web}/api/v2/dags/{DAG}/dagRuns?order_by=-run_after&limit=3");
    let answer: Value = http.get(runs).send().await?.error_for_status()?.json().await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let runs = answer["dag_runs"].as_array().cloned().unwrap_or_default();
    Ok(runs.iter().map(|run| (text(&run["dag_run_id"]), text(&run["state"]))).collect())
}

/// Writes a line for people. A terminal that has gone away is no error.
fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}
