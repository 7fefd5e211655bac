//! `standalone` as a process of its own, with DAGs that a benchmark makes up.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use local::{
    child::{Child, Program},
    state::State,
};
use nix::sys::signal::Signal;
use orchestrator::dag::Dag;
use sqlx::{PgPool, Row};
use tokio::time::sleep;

use crate::{idle, web};

/// Names the DAGs of such a process.
const DAGS: &str = "STREAMCOMMERCE_BENCH_DAGS";

/// Long enough for the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Which DAGs it has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dags {
    /// Those of `bench idle`.
    Idle {
        /// How many.
        dags: usize,
        /// How many task instances wait.
        waiting: u32,
    },
    /// Those of `bench web`.
    Web {
        /// How many.
        dags: usize,
    },
}

impl Dags {
    fn count(self) -> usize {
        match self {
            Self::Idle { dags, .. } | Self::Web { dags } => dags,
        }
    }

    fn to_text(self) -> String {
        match self {
            Self::Idle { dags, waiting } => format!("{dags}/{waiting}"),
            Self::Web { dags } => dags.to_string(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once('/') {
            Some((dags, waiting)) => Self::Idle { dags: dags.parse().ok()?, waiting: waiting.parse().ok()? },
            None => Self::Web { dags: text.parse().ok()? },
        })
    }

    fn written(self) -> Vec<Dag> {
        match self {
            Self::Idle { dags, waiting } => idle::dags(dags, waiting),
            Self::Web { dags } => web::dags(dags),
        }
    }
}

/// The `streamcommerce` of a benchmark, if this process is to be one.
pub(crate) fn be_one() -> Option<ExitCode> {
    let dags = Dags::parse(&std::env::var(DAGS).ok()?)?;
    Some(cli::run(dags.written()))
}

/// What it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standalone<'a> {
    pub(crate) state: &'a State,
    pub(crate) pool: &'a PgPool,
    pub(crate) url: &'a str,
    pub(crate) port: u16,
    pub(crate) dags: Dags,
}

impl Standalone<'_> {
    /// Starts it, and says how many seconds it took until it was healthy and all DAGs were in the database.
    pub(crate) async fn start(&self) -> anyhow::Result<(Child, f64)> {
        let own = std::env::current_exe()?;
        let began = Instant::now();
        let process = Program::new("standalone", Path::new(&own), &self.state.logs())
            .args(["standalone", "--slots", "256", "--database-url", self.url, "--bind"])
            .args([format!("127.0.0.1:{}", self.port)])
            .envs([(DAGS, self.dags.to_text())])
            .spawn(Signal::SIGTERM)?;
        let url = format!("{}/api/v2/monitor/health", self.address());
        while !(is_healthy(&url).await && self.knows_its_dags().await?) {
            ensure!(began.elapsed() < PATIENCE, "it did not become healthy; its log is in {:?}", self.state.logs());
            sleep(Duration::from_millis(5)).await;
        }
        Ok((process, began.elapsed().as_secs_f64()))
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn knows_its_dags(&self) -> anyhow::Result<bool> {
        let known = sqlx::query("select count(*) from dag").fetch_one(self.pool).await?.get::<i64, _>(0);
        Ok(known == self.dags.count() as i64)
    }
}

async fn is_healthy(url: &str) -> bool {
    let Ok(answer) = reqwest::get(url).await else { return false };
    let Ok(health) = answer.json::<serde_json::Value>().await else { return false };
    ["metadatabase", "scheduler"].iter().all(|part| health[part]["status"] == "healthy")
}

/// What a process holds in memory now.
///
/// # Errors
/// It has ended.
pub(crate) fn resident_mb(process: &Child) -> anyhow::Result<f64> {
    let pid = process.pid().context("it has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1_024.0)
}
