//! Runs as bars: how they went, and how long they took beside each other.

use chrono::{DateTime, Utc};
use orchestrator::{
    state::{RunState, RunType},
    store::pages::{dags::RecentRun, runs::RunListed},
};

use super::{
    links,
    words::{duration, millis, spoken},
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

/// The latest runs of a DAG, the latest last. What goes on grows in steps: a page is not another one with every second.
pub(crate) fn bars(runs: &[RecentRun], now: DateTime<Utc>) -> Vec<Bar> {
    let took = |run: &RecentRun| millis(run.start_date, run.end_date, now).unwrap_or(0);
    let longest = runs.iter().filter(|run| run.end_date.is_some()).map(took).max().unwrap_or(0);
    let bar = |run: &RecentRun| Bar {
        link: links::run(&run.dag_id, &run.run_id),
        state: run.state,
        label: label(run.run_id.as_str(), run.state, run.end_date.and(run.start_date).map(|_| took(run))),
        height: match run.end_date {
            Some(_) => height(took(run), longest),
            None => step(height(took(run), longest)),
        },
    };
    runs.iter().map(bar).collect()
}

/// A run as a column of a grid.
pub(crate) struct Column {
    pub(crate) bar: Bar,
    /// Why the run exists.
    pub(crate) kind: RunType,
    /// Where the day begins, if there is room to say so.
    pub(crate) day: Option<DateTime<Utc>>,
}

impl Column {
    /// What it says when asked.
    pub(crate) fn label(&self) -> String {
        format!("{} ({})", self.bar.label, spoken(self.kind.as_str()))
    }
}

/// Columns that the name of a day needs.
const DAY: usize = 2;

/// The same of runs in a list.
pub(crate) fn columns(runs: &[RunListed], now: DateTime<Utc>) -> Vec<Column> {
    let recent = runs.iter().map(|run| RecentRun {
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        state: run.state,
        start_date: run.start_date,
        end_date: run.end_date,
    });
    let bars = bars(&recent.collect::<Vec<_>>(), now);
    let days = days(&runs.iter().map(|run| run.run_after).collect::<Vec<_>>());
    let kinds = runs.iter().map(|run| run.run_type);
    bars.into_iter().zip(kinds).zip(days).map(|((bar, kind), day)| Column { bar, kind, day }).collect()
}

/// Those of these instants with which another day begins, as far as there is room for their names.
fn days(instants: &[DateTime<Utc>]) -> Vec<Option<DateTime<Utc>>> {
    let (mut told, mut room) = (None, 0);
    let day = |(index, at): (usize, &DateTime<Utc>)| {
        let is_new = told != Some(at.date_naive()) && index >= room && index + DAY <= instants.len().max(DAY);
        is_new.then(|| {
            (told, room) = (Some(at.date_naive()), index + DAY);
            *at
        })
    };
    instants.iter().enumerate().map(day).collect()
}

/// How long runs take, and whether that changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pace {
    /// The median.
    pub(crate) typical: String,
    /// How the later half of them is beside the earlier one, if that can be told.
    pub(crate) trend: Option<String>,
}

impl Pace {
    /// With fewer of them nothing can be told of a trend.
    const ENOUGH: usize = 6;
    /// What is less, in percent, is no trend.
    const STEADY: i64 = 20;

    /// That of runs which took so many milliseconds, the latest last.
    pub(crate) fn of(took: &[i64]) -> Option<Self> {
        let typical = duration(median(took)?);
        let (earlier, later) = took.split_at(took.len() / 2);
        let trend =
            median(earlier).zip(median(later)).filter(|(earlier, _)| took.len() >= Self::ENOUGH && *earlier > 0);
        let trend = trend.map(|(earlier, later)| (later - earlier) * 100 / earlier).and_then(|change| match change {
            change if change >= Self::STEADY => Some(format!("↗ {change} %")),
            change if change <= -Self::STEADY => Some(format!("↘ {} %", -change)),
            _ => None,
        });
        Some(Self { typical, trend })
    }
}

fn median(of: &[i64]) -> Option<i64> {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

fn label(run_id: &str, state: RunState, took: Option<i64>) -> String {
    match took {
        Some(took) => format!("{run_id}: {state}, {}", duration(took)),
        None => format!("{run_id}: {state}"),
    }
}

fn height(took: i64, longest: i64) -> i64 {
    if longest == 0 { LEAST } else { (took * 100 / longest).clamp(LEAST, 100) }
}

fn step(height: i64) -> i64 {
    (height + 24) / 25 * 25
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_named_where_it_begins_and_its_name_has_room() {
        let named = |instants: &[&str]| {
            let instants: Vec<_> = instants.iter().map(|at| format!("2026-01-{at}:00:00Z").parse().unwrap()).collect();
            days(&instants).iter().map(Option::is_some).collect::<Vec<_>>()
        };
        assert_eq!(named(&["01T00", "01T12", "01T18", "02T00", "02T06"]), [true, false, false, true, false]);
        assert_eq!(named(&["01T00", "02T00", "03T00", "04T00"]), [true, false, true, false], "every other one");
        assert_eq!(named(&["01T00", "01T01", "02T00"]), [true, false, false], "it would end outside");
        assert_eq!((named(&["01T00"]), named(&[])), (vec![true], vec![]));
    }

    #[test]
    fn the_longest_is_full_and_the_shortest_can_be_seen() {
        assert_eq!((step(LEAST), step(26), step(100)), (25, 50, 100));
        assert_eq!((height(10, 10), height(5, 10), height(0, 10), height(0, 0)), (100, 50, LEAST, LEAST));
    }
}
