//! The streaming workers, by what they told last.

use chrono::{DateTime, TimeDelta, Utc};
use lake::report::{OfPartition, Report};
use orchestrator::store::streaming::{self, WorkerRow};
use sqlx::PgConnection;

use crate::pages::words::took;

/// A worker tells every ten seconds; one that has not told for so long may be gone.
const SILENT: TimeDelta = TimeDelta::minutes(1);

/// A worker.
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) seen_at: DateTime<Utc>,
    pub(crate) report: Report,
}

/// Where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It works.
    Alive,
    /// It ended as it was told to.
    Stopped,
    /// It has not joined the others, or its loop does not come round.
    NotReady,
    /// Nobody has heard of it.
    Lost,
}

impl State {
    /// The word, which is also the class.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Stopped => "stopped",
            Self::NotReady => "waiting",
            Self::Lost => "lost",
        }
    }
}

impl Worker {
    /// All of them.
    pub(crate) async fn all(conn: &mut PgConnection) -> sqlx::Result<Vec<Self>> {
        Ok(streaming::workers(conn).await?.into_iter().filter_map(Self::of).collect())
    }

    /// None if it is the report of another version that cannot be read: one worker must not hide the others.
    fn of(WorkerRow { worker, seen_at, report }: WorkerRow) -> Option<Self> {
        let read = serde_json::from_value(report);
        let read = read.inspect_err(|error| tracing::warn!(worker, %error, "a report cannot be read"));
        Some(Self { name: worker, seen_at, report: read.ok()? })
    }

    /// Its partitions; of one that is lost somebody else's by now.
    pub(crate) fn partitions(&self, now: DateTime<Utc>) -> &[OfPartition] {
        if self.state(now) == State::Lost { &[] } else { &self.report.partitions }
    }

    /// Records of its partitions that it has not read.
    pub(crate) fn lag(&self, now: DateTime<Utc>) -> i64 {
        self.partitions(now).iter().fold(0, |sum, of| sum.saturating_add(of.lag_records))
    }

    pub(crate) fn state(&self, now: DateTime<Utc>) -> State {
        match &self.report {
            report if report.has_stopped => State::Stopped,
            _ if now - self.seen_at > SILENT => State::Lost,
            report if !report.is_ready => State::NotReady,
            _ => State::Alive,
        }
    }

    /// What somebody should look after, if anything.
    pub(crate) fn trouble(&self, now: DateTime<Utc>) -> Option<String> {
        match self.state(now) {
            State::Stopped => None,
            State::Lost => Some(format!("has not been heard of for {}", took(Some(self.seen_at), None, now))),
            State::NotReady => Some("is not ready: it has not been told which partitions are its".to_owned()),
            State::Alive if self.report.is_alarmed => {
                let percent = self.report.dead_letter_share * 100.0;
                Some(format!("reads too many dead letters: {percent:.1} % lately"))
            }
            State::Alive => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_silent_is_trouble_unless_it_said_good_bye() {
        let now = Utc::now();
        let worker =
            |ago: i64, report: Report| Worker { name: "w".to_owned(), seen_at: now - TimeDelta::seconds(ago), report };
        let ready = || Report { is_ready: true, ..Report::default() };
        let state = |ago, report| worker(ago, report).state(now);
        assert_eq!(state(59, ready()), State::Alive);
        assert_eq!(state(61, ready()), State::Lost);
        assert_eq!(state(9, Report::default()), State::NotReady);
        assert_eq!(state(999, Report { has_stopped: true, ..Report::default() }), State::Stopped);
        let alarmed = Report { is_alarmed: true, dead_letter_share: 0.25, ..ready() };
        assert_eq!(worker(1, alarmed).trouble(now).unwrap(), "reads too many dead letters: 25.0 % lately");
        assert_eq!(worker(1, ready()).trouble(now), None);
    }
}
