//! How much was committed, and how much was left, minute by minute.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use orchestrator::store::streaming::Figure;

/// Minutes of a curve.
pub(crate) const MINUTES: i64 = 60;

/// A minute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Minute {
    pub(crate) at: DateTime<Utc>,
    /// Records that were committed in it.
    pub(crate) records: i64,
    /// Records that were not read at its end; none: nobody said.
    pub(crate) lag: Option<i64>,
}

/// The last hour. The figures come worker by worker, each from the first to the last.
pub(crate) fn minutes(figures: &[Figure], now: DateTime<Utc>) -> Vec<Minute> {
    let of = |at: DateTime<Utc>| at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at);
    let mut records: BTreeMap<DateTime<Utc>, i64> = BTreeMap::new();
    let mut lags: BTreeMap<(DateTime<Utc>, &str), i64> = BTreeMap::new();
    let mut before: Option<&Figure> = None;
    for figure in figures {
        if let Some(before) = before.filter(|before| before.worker == figure.worker) {
            // A counter that is lower than it was began anew with the process.
            let since = if figure.records < before.records { 0 } else { before.records };
            let sum = records.entry(of(figure.at)).or_default();
            *sum = sum.saturating_add(figure.records.saturating_sub(since));
        }
        lags.insert((of(figure.at), &figure.worker), figure.lag_records);
        before = Some(figure);
    }
    let first = of(now) - TimeDelta::minutes(MINUTES - 1);
    let minute = |ago| {
        let at = first + TimeDelta::minutes(ago);
        let mut lag = lags.range((at, "")..(at + TimeDelta::minutes(1), "")).map(|(_, lag)| *lag).peekable();
        let lag = lag.peek().is_some().then(|| lag.fold(0_i64, i64::saturating_add));
        Minute { at, records: records.get(&at).copied().unwrap_or(0), lag }
    };
    (0..MINUTES).map(minute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_counts_in_its_minute_whoever_starts_anew() {
        let now = "2026-03-01T12:30:20Z".parse::<DateTime<Utc>>().unwrap();
        let figure = |worker: &str, ago: i64, records, lag_records| Figure {
            worker: worker.to_owned(),
            at: now - TimeDelta::seconds(ago),
            records,
            lag_records,
        };
        let figures = [
            figure("a", 90, 100, 7),
            figure("a", 80, 130, 5),
            figure("a", 10, 150, 3),
            // It was started anew between the two.
            figure("b", 75, 900, 2),
            figure("b", 15, 40, 1),
        ];
        let minutes = minutes(&figures, now);
        assert_eq!(minutes.len(), 60);
        let told: Vec<_> = minutes.iter().rev().take(4).map(|minute| (minute.records, minute.lag)).collect();
        assert_eq!(told, [(60, Some(4)), (30, Some(7)), (0, Some(7)), (0, None)]);
        assert_eq!(minutes[59].at, "2026-03-01T12:30:00Z".parse::<DateTime<Utc>>().unwrap());
    }
}
