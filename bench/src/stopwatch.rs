//! When bodies began and ended, on one monotonic clock.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The begin and the end of every body of one run, by node.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(Mutex<Vec<(usize, Instant, Instant)>>);

impl Stopwatch {
    /// Writes down a body that began at `began` and returns now.
    pub(crate) fn ended(&self, node: usize, began: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((node, began, Instant::now()));
    }

    /// All bodies since the last call, in the order of their beginning.
    pub(crate) fn take(&self) -> Vec<(usize, Instant, Instant)> {
        let mut bodies = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        bodies.sort_by_key(|(_, began, _)| *began);
        bodies
    }
}

/// The `q`-quantile, in milliseconds.
pub(crate) fn quantile_ms(sorted: &[Duration], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * q).round() as usize).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1_000.0)
}
