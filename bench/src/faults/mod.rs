//! `bench faults`: rounds of runs while processes die, stand still, and the database goes away. Seeded: the same seed
//! inflicts the same faults in the same order. A round counts only if its fault hit while at least one task ran.

mod check;
mod clock;
mod field;
pub(crate) mod node;

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use local::state::{State, postgres_data_of_root};
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::Serialize;

use self::field::Field;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many rounds.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Which faults, in which order, and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What goes wrong in a round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    /// SIGKILL of a worker.
    KillWorker,
    /// SIGKILL of a scheduler.
    KillScheduler,
    /// SIGSTOP of a worker for longer than its lease; then it comes back, as a zombie.
    FreezeWorker,
    /// The same between the end of a body and its settle: what the zombie says first is the outcome of a lost attempt.
    FreezeAtEnd,
    /// Clears of tasks and of all that comes after them, while others end.
    Clear,
    /// The clocks of all schedulers and workers jump.
    StepClock,
    /// `pg_terminate_backend` of every connection, several times.
    CutConnections,
    /// SIGKILL of Postgres, and its restart.
    CrashPostgres,
}

const FAULTS: [Fault; 8] = [
    Fault::KillWorker,
    Fault::KillScheduler,
    Fault::FreezeWorker,
    Fault::FreezeAtEnd,
    Fault::Clear,
    Fault::StepClock,
    Fault::CutConnections,
    Fault::CrashPostgres,
];

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    rounds: u32,
    /// Rounds whose fault hit while a task ran.
    hits: u32,
    /// The same, fault by fault.
    hits_of: BTreeMap<Fault, u32>,
    attempts: i64,
    /// Attempts that ended because of a fault.
    lost_attempts: i64,
    /// Slots of the schedule that two schedulers fired beside all that, each once and none left out.
    ticks: i64,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let folder = std::env::current_dir()?.join("target").join(format!("faults-{}", std::process::id()));
    let state = State::take(&folder)?;
    let mut field = Field::start(state).await?;
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut report = Report {
        seed: options.seed,
        rounds: options.rounds,
        hits: 0,
        hits_of: BTreeMap::new(),
        attempts: 0,
        lost_attempts: 0,
        ticks: 0,
    };
    let faults: Vec<_> = FAULTS.into_iter().filter(|fault| field.can_inflict(*fault)).collect();
    for round in 0..options.rounds {
        let fault = *faults.choose(&mut random).unwrap_or(&Fault::KillWorker);
        let (next, hit) = field.round(fault, &mut random).await.with_context(|| {
            format!("round {round} of seed {}: {fault:?}; the logs are in {}", options.seed, folder.display())
        })?;
        field = next;
        report.hits += u32::from(hit);
        *report.hits_of.entry(fault).or_default() += u32::from(hit);
    }
    (report.attempts, report.lost_attempts) = check::attempts(field.pool()).await?;
    report.ticks = check::ticks(field.pool()).await?;
    field.stop().await;
    let of_root = postgres_data_of_root(&folder);
    for folder in [folder, of_root] {
        std::fs::remove_dir_all(folder).ok();
    }
    Ok(report)
}
