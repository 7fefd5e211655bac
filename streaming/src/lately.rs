//! How many of the records that were read lately were dead letters.

use std::time::{Duration, Instant};

/// The share is taken over so many records ...
const RECORDS: u64 = 1_000;

/// ... or, of a trickle, over so long and at least so many.
const LONG: Duration = Duration::from_secs(300);
const FEW: u64 = 20;

/// The records since the share was last taken.
#[derive(Debug)]
pub(crate) struct Lately {
    read: u64,
    invalid: u64,
    since: Instant,
}

/// So many dead letters of so many records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    pub(crate) read: u64,
    pub(crate) invalid: u64,
}

impl Share {
    /// From 0 to 1.
    pub(crate) fn part(self) -> f64 {
        self.invalid as f64 / self.read.max(1) as f64
    }
}

impl Lately {
    pub(crate) fn since(now: Instant) -> Self {
        Self { read: 0, invalid: 0, since: now }
    }

    /// Counts a record, and the dead letters that it became.
    pub(crate) fn count(&mut self, invalid: u64) {
        self.read += 1;
        self.invalid += invalid;
    }

    /// The share, if there is enough to tell; then it begins anew.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Share> {
        let is_enough = self.read >= RECORDS || (self.read >= FEW && now.duration_since(self.since) >= LONG);
        let Self { read, invalid, .. } = is_enough.then(|| std::mem::replace(self, Self::since(now)))?;
        Some(Share { read, invalid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_taken_over_many_records_or_a_long_time() {
        let began = Instant::now();
        for (read, after, is_told) in
            [(999, 0, false), (1_000, 0, true), (19, 301, false), (20, 299, false), (20, 300, true), (0, 1_000, false)]
        {
            let mut lately = Lately::since(began);
            for record in 0..read {
                lately.count(u64::from(record % 10 == 0));
            }
            let share = lately.take(began + Duration::from_secs(after));
            let expected = is_told.then_some(Share { read, invalid: read / 10 });
            assert_eq!(share, expected, "{read} records in {after} s");
            assert!(share.is_none_or(|share| share.part() == 0.1));
            assert!(!is_told || lately.take(began + Duration::from_secs(after)).is_none(), "it begins anew");
        }
    }
}
