//! Whether the bucket is right after workers died, stalled, came and went, and the bucket failed: rounds of one fault
//! each, drawn from a seed.

mod books;
mod field;

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use clap::Args;
use local::state::State;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::Serialize;

use self::field::Field;
use crate::gate::{Harm, Step};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many faults.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// The same seed draws the same faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What happens in a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// At a step of a commit, to the first requests that get there.
    AtStep(Step, Harm, u32),
    /// SIGKILL of a worker after so many milliseconds.
    Kill(u64),
    /// SIGSTOP of a worker until another one has done its work; then it goes on as a zombie.
    Freeze,
    /// Another worker joins, takes partitions over, and leaves.
    Join,
}

impl Fault {
    fn name(self) -> String {
        match self {
            Self::AtStep(step, harm, _) => format!("{harm:?} at {step:?}"),
            Self::Kill(_) => "kill at random".to_owned(),
            Self::Freeze => "zombie".to_owned(),
            Self::Join => "join and leave".to_owned(),
        }
    }

    fn draw(random: &mut StdRng) -> Self {
        let harms = [
            (Step::Upload, Harm::KillBefore, 1),
            (Step::Upload, Harm::KillAfter, 1),
            (Step::Manifest, Harm::KillBefore, 1),
            (Step::Manifest, Harm::KillAfter, 1),
            (Step::Move, Harm::KillBefore, 1),
            (Step::Move, Harm::KillAfter, 1),
            (Step::Upload, Harm::Refuse(503), 3),
            (Step::Upload, Harm::Refuse(429), 3),
            (Step::Manifest, Harm::Refuse(503), 2),
            (Step::Move, Harm::Refuse(429), 3),
            (Step::Upload, Harm::LoseReply, 2),
            (Step::Manifest, Harm::LoseReply, 2),
            (Step::Move, Harm::LoseReply, 2),
            (Step::Upload, Harm::Slow(Duration::from_millis(700)), 8),
            (Step::Manifest, Harm::Rival, 1),
            (Step::Manifest, Harm::Rival, 2),
        ];
        match random.random_range(0..20) {
            0..14 => {
                harms.choose(random).map_or(Self::Freeze, |(step, harm, times)| Self::AtStep(*step, *harm, *times))
            }
            14..17 => Self::Kill(random.random_range(0..1_500)),
            17..19 => Self::Freeze,
            _ => Self::Join,
        }
    }
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    rounds: u32,
    /// Rounds whose fault hit while a range was open.
    hits: u32,
    /// The same, fault by fault.
    hits_of: BTreeMap<String, u32>,
    /// Workers that ended by themselves.
    exits: u32,
    records: u64,
    ranges: u64,
    rows: u64,
    dead_letters: u64,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let folder = std::env::current_dir()?.join("target").join(format!("stream-faults-{}", std::process::id()));
    let mut field = Field::start(State::take(&folder)?).await?;
    let mut random = StdRng::seed_from_u64(options.seed);
    let (mut hits, mut hits_of) = (0, BTreeMap::new());
    for round in 0..options.rounds {
        let fault = Fault::draw(&mut random);
        let hit = field.round(fault, &mut random).await.with_context(|| {
            format!("round {round} of seed {}: {}; the logs are in {}", options.seed, fault.name(), folder.display())
        })?;
        hits += u32::from(hit);
        *hits_of.entry(fault.name()).or_default() += u32::from(hit);
    }
    let (records, exits) = (field.records(), field.exits);
    let books = field.stop().await?;
    let report = Report {
        seed: options.seed,
        rounds: options.rounds,
        hits,
        hits_of,
        exits,
        records,
        ranges: books.ranges,
        rows: books.rows,
        dead_letters: books.dead_letters,
    };
    std::fs::remove_dir_all(folder).ok();
    Ok(report)
}
