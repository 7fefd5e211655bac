//! Runs as bars: how they went, and how long they took beside each other.

use chrono::{DateTime, Utc};
use orchestrator::{
    state::RunState,
    store::pages::{dags::RecentRun, runs::RunListed},
};

use super::{
    links,
    words::{duration, millis},
};

/// A run as a bar.
pub(crate) struct Bar {
    pub(crate) link: String,
    pub(crate) state: RunState,
    /// What it says when asked.
    pub(crate) label: String,
    /// Of 100, from the bottom.
    pub(crate) height: i64,
}

impl Bar {
    /// Where it begins, of 100 from the top.
    pub(crate) fn top(&self) -> i64 {
        100 - self.height
    }
}

/// The least that can be seen.
const LEAST: i64 = 12;

/// The latest runs of a DAG, the latest last.
pub(crate) fn bars(runs: &[RecentRun], now: DateTime<Utc>) -> Vec<Bar> {
    let took: Vec<_> = runs.iter().map(|run| millis(run.start_date, run.end_date, now).unwrap_or(0)).collect();
    let longest = took.iter().copied().max().unwrap_or(0);
    let bar = |(run, took): (&RecentRun, i64)| Bar {
        link: links::run(&run.dag_id, &run.run_id),
        state: run.state,
        label: label(run.run_id.as_str(), run.state, run.start_date.map(|_| took)),
        height: height(took, longest),
    };
    runs.iter().zip(took).map(bar).collect()
}

/// The same of runs in a list.
pub(crate) fn columns(runs: &[RunListed], now: DateTime<Utc>) -> Vec<Bar> {
    let recent = runs.iter().map(|run| RecentRun {
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        state: run.state,
        start_date: run.start_date,
        end_date: run.end_date,
    });
    bars(&recent.collect::<Vec<_>>(), now)
}

fn label(run_id: &str, state: RunState, took: Option<i64>) -> String {
    match took {
        Some(took) => format!("{run_id}: {state}, {}", duration(took)),
        None => format!("{run_id}: {state}"),
    }
}

fn height(took: i64, longest: i64) -> i64 {
    if longest == 0 { LEAST } else { (took * 100 / longest).max(LEAST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_is_full_and_the_shortest_can_be_seen() {
        assert_eq!((height(10, 10), height(5, 10), height(0, 10), height(0, 0)), (100, 50, LEAST, LEAST));
    }
}
