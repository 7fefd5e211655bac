//! When the next try is due. Airflow's `TaskInstance.next_retry_datetime`, with one wart fixed: the backoff counts
//! the tries since the last clear, so that a cleared task does not start with its longest delay.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{DagId, Node, RunId};
use sha2::{Digest, Sha256};

/// Airflow's `core.max_task_retry_delay`: no backoff waits longer than a day.
const DELAY_MAX: Duration = Duration::from_secs(86_400);

/// How often and how fast a failed task is tried again.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub retries: u32,
    /// The delay before the second try.
    pub delay: Duration,
    /// What the delay is multiplied with from try to try; none keeps it fixed. Airflow's
    /// `retry_exponential_backoff`.
    pub backoff: Option<f64>,
    /// The longest delay. Airflow's `max_retry_delay`.
    pub max_delay: Option<Duration>,
}

impl Default for RetryPolicy {
    /// Airflow's defaults: no retry, five minutes.
    fn default() -> Self {
        Self { retries: 0, delay: Duration::from_secs(300), backoff: None, max_delay: None }
    }
}

/// The try of this task that failed.
#[derive(Clone, Copy, Debug)]
pub struct FailedTry<'a> {
    /// What tells this task instance from others, so that a thousand siblings do not retry at the same instant.
    pub identity: &'a str,
    /// The number of the try that failed, from 1, over the task's whole life.
    pub try_number: u32,
    /// The last try that is allowed: a clear moves it on.
    pub max_tries: u32,
}

/// How long to wait before the next try, or none if none is left. `max_tries` is the last *retry*: a task with
/// `retries = 2` has tries 1, 2 and 3 and `max_tries = 2` until it is cleared.
#[must_use]
pub fn delay_before_next_try(policy: &RetryPolicy, failed: FailedTry<'_>) -> Option<Duration> {
    if failed.try_number > failed.max_tries || policy.retries == 0 {
        return None;
    }
    let Some(multiplier) = policy.backoff else {
        return Some(policy.delay);
    };
    let tries_since_clear = failed.try_number.saturating_sub(failed.max_tries.saturating_sub(policy.retries)).max(1);
    let exponent = i32::try_from(tries_since_clear - 1).unwrap_or(i32::MAX);
    let base = (policy.delay.as_secs_f64() * multiplier.max(1.0).powi(exponent)).ceil().max(1.0);
    let base_secs = if base >= DELAY_MAX.as_secs_f64() { DELAY_MAX.as_secs() } else { base as u64 };
    let jittered = Duration::from_secs(base_secs + jitter(failed) % base_secs);
    Some(jittered.min(DELAY_MAX).min(policy.max_delay.unwrap_or(DELAY_MAX)))
}

/// The same number for the same try, wherever it is computed.
fn jitter(failed: FailedTry<'_>) -> u64 {
    let digest = Sha256::digest(format!("{}#{}", failed.identity, failed.try_number));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// What tells a task instance from all others, for the jitter of its delays.
#[must_use]
pub fn identity(dag: &DagId, run: &RunId, node: Node, map_index: i32) -> String {
    format!("{dag}#{node}#{run}#{map_index}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(try_number: u32, max_tries: u32) -> FailedTry<'static> {
        FailedTry { identity: "dag#task#2026-01-01", try_number, max_tries }
    }

    #[test]
    fn a_task_has_its_retries_and_no_more() {
        let policy = RetryPolicy { retries: 2, delay: Duration::from_secs(7), ..RetryPolicy::default() };
        assert_eq!(delay_before_next_try(&policy, failed(1, 2)), Some(Duration::from_secs(7)));
        assert_eq!(delay_before_next_try(&policy, failed(2, 2)), Some(Duration::from_secs(7)));
        assert_eq!(delay_before_next_try(&policy, failed(3, 2)), None);
        let weekly = RetryPolicy { delay: Duration::from_secs(604_800), ..policy };
        assert_eq!(delay_before_next_try(&weekly, failed(1, 2)), Some(weekly.delay), "only a backoff has an end");
        assert_eq!(delay_before_next_try(&RetryPolicy::default(), failed(1, 0)), None);
    }

    #[test]
    fn a_clear_starts_the_backoff_again() {
        let policy = RetryPolicy { retries: 3, delay: Duration::from_secs(10), backoff: Some(2.0), max_delay: None };
        // Three tries went before; the clear at try 3 made max_tries 3 + 3.
        let after_clear = delay_before_next_try(&policy, failed(4, 6)).unwrap();
        assert!(after_clear < Duration::from_secs(20), "{after_clear:?}");
    }

    #[test]
    fn tries_that_failed_together_do_not_come_back_together() {
        let policy =
            RetryPolicy { retries: 3, delay: Duration::from_secs(1_000), backoff: Some(1.0), ..RetryPolicy::default() };
        let identities = (0..50).map(|index| identity(&"d".into(), &"r".into(), Node(1), index));
        let delays: std::collections::BTreeSet<_> = identities
            .map(|identity| {
                let failed = FailedTry { identity: &identity, try_number: 1, max_tries: 3 };
                delay_before_next_try(&policy, failed).unwrap()
            })
            .collect();
        assert!(delays.len() > 40, "{delays:?}");
        assert_eq!(identity(&"d".into(), &"r".into(), Node(1), 2), "d#1#r#2");
    }

    proptest! {
        #[test]
        fn backoff_lies_between_once_and_twice_its_base(
            delay in 1_u64..5_000, multiplier in 1.0_f64..4.0, try_number in 1_u32..12, cap in 1_u64..90_000,
        ) {
            let policy = RetryPolicy {
                retries: 12,
                delay: Duration::from_secs(delay),
                backoff: Some(multiplier),
                max_delay: Some(Duration::from_secs(cap)),
            };
            let wait = delay_before_next_try(&policy, failed(try_number, 12)).unwrap().as_secs_f64();
            let base = delay as f64 * multiplier.powi(try_number as i32 - 1);
            prop_assert!(wait <= (cap as f64).min(86_400.0));
            prop_assert!(wait >= base.min(cap as f64).min(86_400.0).floor());
            prop_assert!(wait <= 2.0 * base.ceil());
        }
    }
}
