//! When bodies began and ended, on one monotonic clock.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use orchestrator::ids::RunId;

/// One body.
#[derive(Clone, Debug)]
pub(crate) struct Lap {
    pub(crate) run: RunId,
    pub(crate) node: usize,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

/// The begin and the end of every body.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(Mutex<Vec<Lap>>);

impl Stopwatch {
    /// Writes down a body that began at `began` and returns now.
    pub(crate) fn ended(&self, run: &RunId, node: usize, began: Instant) {
        let lap = Lap { run: run.clone(), node, began, ended: Instant::now() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lap);
    }

    /// All bodies since the last call, in the order of their beginning.
    pub(crate) fn take(&self) -> Vec<Lap> {
        let mut laps = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        laps.sort_by_key(|lap| lap.began);
        laps
    }
}

/// The `q`-quantile, in milliseconds.
pub(crate) fn quantile_ms(sorted: &[Duration], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * q).round() as usize).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1_000.0)
}
