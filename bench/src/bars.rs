//! `bench bars`: all that the engine must reach, one case after the other. Each case has a Postgres of its own.

use clap::Args;
use serde::Serialize;

use crate::{
    engine::{self, Shape},
    idle,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Finished task instances of old runs beside which it must be as fast as without.
    #[arg(long, default_value_t = 3_000_000)]
    finished: i64,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    bars: Vec<Bar>,
    /// Those that were not reached.
    pub(crate) missed: Vec<String>,
}

/// One figure, and what it must be.
#[derive(Debug, Serialize)]
struct Bar {
    what: &'static str,
    is: f64,
    must_be: Bound,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn missed(&self) -> Option<String> {
        let Self { what, is, .. } = self;
        match self.must_be {
            Bound::AtMost(most) if *is > most => Some(format!("{what}: {is:.4}, and at most {most}")),
            Bound::AtLeast(least) if *is < least => Some(format!("{what}: {is:.4}, and at least {least}")),
            _ => None,
        }
    }
}

const CHAIN: engine::Options =
    engine::Options { shape: Shape::Chain, tasks: 40, hops: 4_000, slots: 64, pool: 128, at_once: 1, finished: 0 };

/// The tasks of a small run, and of a big one.
const SMALL: usize = 100;
const BIG: usize = 10_000;

/// A pool that no fan-out fills.
const WIDE_POOL: i32 = 1_024;

fn fan_out(tasks: usize, pool: i32) -> engine::Options {
    engine::Options { shape: Shape::Fanout, tasks, pool, hops: 20_000, ..CHAIN }
}

/// Twenty chains of ten at once.
const CROWD: engine::Options = engine::Options { tasks: 10, at_once: 20, hops: 30_000, ..CHAIN };

pub(crate) async fn run(options: &Options) -> anyhow::Result<Figures> {
    let bars = [alone(options.finished).await?, of_a_big_run().await?, idle().await?]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
    let missed = bars.iter().filter_map(Bar::missed).collect();
    Ok(Figures { bars, missed })
}

/// What runs on a young database, and beside a long history.
async fn alone(finished: i64) -> anyhow::Result<Vec<Bar>> {
    let wide = fan_out(1_000, WIDE_POOL);
    let (chain, fan_out, crowd) = (engine::run(&CHAIN).await?, engine::run(&wide).await?, engine::run(&CROWD).await?);
    let narrow = engine::run(&self::fan_out(1_000, CHAIN.pool)).await?;
    let old = |options| engine::Options { finished, ..options };
    let (old_chain, old_fan_out) = (engine::run(&old(CHAIN)).await?, engine::run(&old(wide)).await?);
    let old_crowd = engine::run(&old(CROWD)).await?;
    Ok(vec![
        at_most("a hop of a chain of 40, in commits", chain.ratio_p50, 5.0),
        at_most("its 99th percentile, in medians", chain.hop_ms_p99 / chain.hop_ms_p50, 5.0),
        at_least("1 to 1000 to 1 in a pool of 1024, tasks a commit", fan_out.throughput_ratio, 1.0),
        at_least("the same in a pool of 128", narrow.throughput_ratio, 0.7),
        at_least("20 chains of 10 at once, tasks a commit", crowd.throughput_ratio, 0.7),
        at_most("processor seconds of a task in a chain", chain.cpu_s_per_task, 0.002),
        at_most("processor seconds of a task in a fan-out", fan_out.cpu_s_per_task, 0.0004),
        at_least("a chain beside a history, of without", chain.ratio_p50 / old_chain.ratio_p50, 0.9),
        at_least("a fan-out beside it, of without", old_fan_out.throughput_ratio / fan_out.throughput_ratio, 0.9),
        at_least("20 chains beside it, of without", old_crowd.throughput_ratio / crowd.throughput_ratio, 0.9),
    ])
}

/// What a run costs that has very many tasks.
async fn of_a_big_run() -> anyhow::Result<Vec<Bar>> {
    let big = engine::run(&fan_out(BIG, WIDE_POOL)).await?;
    let small = engine::run(&fan_out(SMALL, WIDE_POOL)).await?;
    Ok(vec![
        at_most("seconds to make a run of 10,000 tasks", big.create_ms_p50 / 1_000.0, 0.3),
        at_most("a settle in it, of one in a run of 100", small.throughput_ratio / big.throughput_ratio, 1.5),
    ])
}

/// What it costs while nothing happens.
async fn idle() -> anyhow::Result<Vec<Bar>> {
    let idle = idle::run(&idle::Options { dags: 1_000, waiting: 10_000, seconds: 60 }).await?;
    Ok(vec![
        at_most("percent of a core with 1,000 DAGs and 10,000 waiting tasks", idle.cpu_percent, 1.0),
        at_most("MB resident with them", idle.resident_mb, 60.0),
        at_most("seconds from its start to healthy", idle.start_s, 1.0),
    ])
}

fn at_most(what: &'static str, is: f64, most: f64) -> Bar {
    Bar { what, is, must_be: Bound::AtMost(most) }
}

fn at_least(what: &'static str, is: f64, least: f64) -> Bar {
    Bar { what, is, must_be: Bound::AtLeast(least) }
}
