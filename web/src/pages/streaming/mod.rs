//! The streaming workers: how far they are, how much they commit, what they could not read.

mod curve;
mod workers;

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use lake::report::{Letter, OfPartition, OfTopic};
use orchestrator::store::{self, streaming};

use self::curve::{MINUTES, Minute, minutes};
pub(crate) use self::workers::Worker;
use super::{
    page::{Frame, Page, PageResult},
    ticking::Away,
    words::{self, duration, grouped},
};
use crate::App;

/// Partitions on the page: those that are furthest behind.
const PARTITIONS: usize = 100;

/// Dead letters on the page.
const LETTERS: usize = 20;

#[derive(Template)]
#[template(path = "streaming.html")]
pub(crate) struct StreamingPage {
    now: DateTime<Utc>,
    workers: Vec<Worker>,
    minutes: Vec<Minute>,
    topics: Vec<OfTopic>,
    partitions: Vec<(OfPartition, String)>,
    all_partitions: usize,
    letters: Vec<Letter>,
}

impl Frame for StreamingPage {
    const SECTION: &'static str = "streaming";

    fn is_live(&self) -> bool {
        !self.workers.is_empty()
    }
}

impl StreamingPage {
    fn ago(&self, at: &DateTime<Utc>) -> Away {
        Away { at: *at, now: self.now }
    }

    fn troubles(&self) -> impl Iterator<Item = (&str, String)> {
        self.workers.iter().filter_map(|worker| Some((worker.name.as_str(), worker.trouble(self.now)?)))
    }

    /// Records that nobody has read.
    fn lag(&self) -> i64 {
        self.workers.iter().fold(0, |sum, worker| sum.saturating_add(worker.lag(self.now)))
    }

    /// How long the oldest of them waits, in words.
    fn behind(&self) -> String {
        let partitions = self.workers.iter().flat_map(|worker| worker.partitions(self.now));
        duration((partitions.map(|of| of.lag_secs).fold(0.0, f64::max) * 1_000.0) as i64)
    }

    /// Records in the last minute that is whole.
    fn a_minute(&self) -> String {
        grouped(self.minutes.iter().rev().nth(1).map_or(0, |minute| minute.records))
    }

    fn millis(&self, of: &OfPartition) -> i64 {
        (of.lag_secs * 1_000.0) as i64
    }

    fn committed(&self) -> Curve {
        curve_of(&self.minutes, |minute| Some(minute.records), "committed")
    }

    fn left(&self) -> Curve {
        curve_of(&self.minutes, |minute| minute.lag, "not read yet")
    }
}

/// An hour, minute by minute.
struct Curve {
    columns: Vec<Column>,
    /// What the highest column stands for.
    most: i64,
}

/// A minute as a column.
struct Column {
    /// Of 100, from the bottom.
    height: i64,
    label: String,
}

impl Column {
    fn top(&self) -> i64 {
        100 - self.height
    }
}

fn curve_of(minutes: &[Minute], of: impl Fn(&Minute) -> Option<i64>, what: &str) -> Curve {
    let most = minutes.iter().filter_map(&of).max().unwrap_or(0);
    let column = |minute: &Minute| {
        let (at, number) = (minute.at.format("%H:%M"), of(minute));
        let told = number.map_or_else(|| "nothing was told".to_owned(), |number| format!("{} {what}", grouped(number)));
        Column {
            height: (number.unwrap_or(0) as f64 / most.max(1) as f64 * 100.0).clamp(0.0, 100.0) as i64,
            label: format!("{at} UTC: {told}"),
        }
    };
    Curve { columns: minutes.iter().map(column).collect(), most }
}

pub(crate) async fn show(State(app): State<App>) -> PageResult<StreamingPage> {
    let mut conn = app.pool.acquire().await?;
    let now = store::now(&mut conn).await?;
    let workers = Worker::all(&mut conn).await?;
    let figures = streaming::figures(&mut conn, now - TimeDelta::minutes(MINUTES + 1)).await?;
    let mut partitions: Vec<_> = workers
        .iter()
        .flat_map(|worker| worker.partitions(now).iter().map(|of| (of.clone(), worker.name.clone())))
        .collect();
    partitions.sort_by(|(one, _), (other, _)| {
        other
            .lag_records
            .cmp(&one.lag_records)
            .then_with(|| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)))
    });
    let all_partitions = partitions.len();
    partitions.truncate(PARTITIONS);
    let mut letters: Vec<_> = workers.iter().flat_map(|worker| worker.report.letters.iter().cloned()).collect();
    letters.truncate(LETTERS);
    Ok(Page(StreamingPage {
        now,
        minutes: minutes(&figures, now),
        topics: together(&workers),
        partitions,
        all_partitions,
        letters,
        workers,
    }))
}

/// What all of them have committed of each topic.
fn together(workers: &[Worker]) -> Vec<OfTopic> {
    let mut topics: BTreeMap<&str, OfTopic> = BTreeMap::new();
    for of in workers.iter().flat_map(|worker| &worker.report.topics) {
        let all = topics.entry(&of.topic).or_insert_with(|| OfTopic { topic: of.topic.clone(), ..OfTopic::default() });
        for (sum, more) in [
            (&mut all.records, of.records),
            (&mut all.rows, of.rows),
            (&mut all.tombstones, of.tombstones),
            (&mut all.dead_letters, of.dead_letters),
            (&mut all.bytes, of.bytes),
            (&mut all.files, of.files),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
    topics.into_values().collect()
}
