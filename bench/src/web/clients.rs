//! Many clients at once.

use std::time::{Duration, Instant};

use futures::{TryFutureExt, future::join_all};
use local::child::Child;
use serde::Serialize;

use super::QUESTIONS;
use crate::{standalone::resident_mb, stopwatch::quantile_ms};

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    clients: usize,
    answers: usize,
    /// Answers other than 200, and those that never came.
    pub(super) errors: usize,
    answers_per_s: f64,
    p50_ms: f64,
    p95_ms: f64,
    resident_before_mb: f64,
    /// After a quarter of the time: all buffers are there.
    pub(super) resident_warm_mb: f64,
    pub(super) resident_after_mb: f64,
}

/// Lets so many clients ask for everything, one thing after the other.
pub(super) async fn storm(
    client: &reqwest::Client,
    address: &str,
    process: &Child,
    clients: usize,
    length: Duration,
) -> anyhow::Result<Figures> {
    let resident_before_mb = resident_mb(process)?;
    let end = Instant::now() + length;
    let all = join_all((0..clients).map(|number| one(client, address, number, end)));
    let warm = async {
        tokio::time::sleep(length / 4).await;
        resident_mb(process)
    };
    let (all, resident_warm_mb) = tokio::join!(all, warm);
    let errors = all.iter().map(|(_, errors)| errors).sum();
    let mut took: Vec<_> = all.into_iter().flat_map(|(took, _)| took).collect();
    took.sort();
    Ok(Figures {
        clients,
        answers: took.len(),
        errors,
        answers_per_s: took.len() as f64 / length.as_secs_f64(),
        p50_ms: quantile_ms(&took, 0.5),
        p95_ms: quantile_ms(&took, 0.95),
        resident_before_mb,
        resident_warm_mb: resident_warm_mb?,
        resident_after_mb: resident_mb(process)?,
    })
}

async fn one(client: &reqwest::Client, address: &str, number: usize, end: Instant) -> (Vec<Duration>, usize) {
    let (mut took, mut errors) = (Vec::new(), 0);
    for path in QUESTIONS.iter().cycle().skip(number % QUESTIONS.len()) {
        if Instant::now() > end {
            break;
        }
        let began = Instant::now();
        let asked = client.get(format!("{address}{path}")).send();
        match asked.and_then(async |answer| answer.error_for_status()?.bytes().await).await {
            Ok(_) => took.push(began.elapsed()),
            Err(_) => errors += 1,
        }
    }
    (took, errors)
}
