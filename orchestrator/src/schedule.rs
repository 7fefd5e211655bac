//! When a DAG runs. Airflow's `CronTriggerTimetable` and `DeltaTriggerTimetable`: the logical date of a run is the
//! instant at which it is due.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::DagId;

/// The timetable of a DAG, as the author wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Schedule {
    /// Only when somebody asks.
    #[default]
    None,
    /// A cron expression of five fields (Vixie cron; `@daily` and its kin too), read in a time zone. When clocks go
    /// forward, a fixed time in the missing hour fires at the first instant after it; when they go back, it fires
    /// once.
    Cron {
        /// The five fields.
        expression: String,
        /// The IANA name of the zone in which the fields are read.
        timezone: String,
    },
    /// Whenever one of several cron expressions says so: Airflow's `MultipleCronTriggerTimetable`.
    Crons {
        /// The expressions.
        expressions: Vec<String>,
        /// The IANA name of the zone in which they are read.
        timezone: String,
    },
    /// Every so many seconds, counted from the start date or, without one, from the epoch.
    Interval {
        /// Seconds between two runs; at least one.
        seconds: u64,
    },
    /// One run, at the start date or, without one, at once: Airflow's `@once`.
    Once,
    /// The next run begins when the one before has ended: Airflow's `@continuous`. Needs `max_active_runs(1)`.
    Continuous,
    /// A run when all of these assets have been updated since the last one.
    AllAssets {
        /// Their names.
        assets: Vec<String>,
    },
    /// A run when one of these assets has been updated.
    AnyAsset {
        /// Their names.
        assets: Vec<String>,
    },
}

/// Why a schedule cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScheduleError {
    /// Not a cron expression.
    #[error("cron expression {expression:?} is not valid: {reason}")]
    Cron {
        /// What the author wrote.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a time zone.
    #[error("time zone {0:?} is not known: use an IANA name such as Europe/Amsterdam")]
    TimeZone(String),
    /// No cron expression at all.
    #[error("a schedule of several cron expressions needs at least one")]
    NoCron,
    /// No asset at all.
    #[error("a schedule of assets needs at least one")]
    NoAsset,
    /// Would fire without end.
    #[error("an interval must be at least one second long")]
    Interval,
}

impl Schedule {
    /// A cron schedule in UTC.
    #[must_use]
    pub fn cron(expression: &str) -> Self {
        Self::cron_in(expression, "UTC")
    }

    /// A cron schedule in the time zone of that IANA name.
    #[must_use]
    pub fn cron_in(expression: &str, timezone: &str) -> Self {
        Self::Cron { expression: expression.to_owned(), timezone: timezone.to_owned() }
    }

    /// Whenever one of the cron expressions says so, in the time zone of that IANA name.
    #[must_use]
    pub fn crons_in<const N: usize>(expressions: [&str; N], timezone: &str) -> Self {
        let expressions = expressions.into_iter().map(ToOwned::to_owned).collect();
        Self::Crons { expressions, timezone: timezone.to_owned() }
    }

    /// A run when all of these assets have been updated since the last one.
    #[must_use]
    pub fn all_assets<'a>(assets: impl IntoIterator<Item = &'a str>) -> Self {
        Self::AllAssets { assets: assets.into_iter().map(ToOwned::to_owned).collect() }
    }

    /// A run when one of these assets has been updated.
    #[must_use]
    pub fn any_asset<'a>(assets: impl IntoIterator<Item = &'a str>) -> Self {
        Self::AnyAsset { assets: assets.into_iter().map(ToOwned::to_owned).collect() }
    }

    /// The assets that it waits for.
    #[must_use]
    pub fn assets(&self) -> &[String] {
        match self {
            Self::AllAssets { assets } | Self::AnyAsset { assets } => assets,
            _ => &[],
        }
    }

    /// A run every `interval`, to the second.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self::Interval { seconds: interval.as_secs() }
    }

    /// The schedule as people read it.
    #[must_use]
    pub fn in_words(&self) -> String {
        let cron = |expression: &String| {
            let text = parse(expression).map_or_else(|_| expression.clone(), |cron| cron.describe());
            let text = text.trim_end_matches('.').replacen("At every", "Every", 1);
            // A clock time alone is one of every day.
            let is_daily =
                text.starts_with("At ") && text[3..].bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
            if is_daily { format!("{text}, every day") } else { text }
        };
        let zoned =
            |text: String, timezone: &str| if timezone == "UTC" { text } else { format!("{text} ({timezone})") };
        match self {
            Self::Cron { expression, timezone } => zoned(cron(expression), timezone),
            Self::Crons { expressions, timezone } => {
                zoned(expressions.iter().map(cron).collect::<Vec<_>>().join("; "), timezone)
            }
            Self::AllAssets { assets } => format!("When all of {} are updated", assets.join(", ")),
            Self::AnyAsset { assets } => format!("When any of {} is updated", assets.join(", ")),
            Self::Once => "Once".to_owned(),
            Self::Continuous => "Always one run".to_owned(),
            Self::Interval { .. } | Self::None => self.summary(),
        }
    }

    /// The schedule as its author wrote it, in short: what the API shows.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::None => "no schedule".to_owned(),
            Self::Cron { expression, timezone } if timezone == "UTC" => expression.clone(),
            Self::Cron { expression, timezone } => format!("{expression} ({timezone})"),
            Self::Crons { expressions, timezone } if timezone == "UTC" => expressions.join(", "),
            Self::Crons { expressions, timezone } => format!("{} ({timezone})", expressions.join(", ")),
            Self::Interval { seconds } => format!("every {seconds} s"),
            Self::AllAssets { assets } => assets.join(" and "),
            Self::AnyAsset { assets } => assets.join(" or "),
            Self::Once => "@once".to_owned(),
            Self::Continuous => "@continuous".to_owned(),
        }
    }

    /// Checks the schedule and makes it ready to be asked.
    ///
    /// # Errors
    /// What the author wrote is not a cron expression, a time zone, or an interval.
    pub fn parse(&self) -> Result<Timetable, ScheduleError> {
        match self {
            Self::AllAssets { assets } | Self::AnyAsset { assets } if assets.is_empty() => Err(ScheduleError::NoAsset),
            Self::None | Self::AllAssets { .. } | Self::AnyAsset { .. } => Ok(Timetable::None),
            Self::Cron { expression, timezone } => Ok(Timetable::Crons(vec![parse(expression)?], zone(timezone)?)),
            Self::Crons { expressions, timezone } => {
                let crons = expressions.iter().map(|expression| parse(expression)).collect::<Result<Vec<_>, _>>()?;
                if crons.is_empty() { Err(ScheduleError::NoCron) } else { Ok(Timetable::Crons(crons, zone(timezone)?)) }
            }
            Self::Once => Ok(Timetable::Once),
            Self::Continuous => Ok(Timetable::Continuous),
            Self::Interval { seconds } => match i64::try_from(*seconds) {
                Ok(seconds) if seconds > 0 => Ok(Timetable::Interval(seconds)),
                _ => Err(ScheduleError::Interval),
            },
        }
    }
}

fn parse(expression: &str) -> Result<Cron, ScheduleError> {
    let refuse = |error: croner::errors::CronError| ScheduleError::Cron {
        expression: expression.to_owned(),
        reason: error.to_string(),
    };
    Cron::from_str(expression).map_err(refuse)
}

fn zone(name: &str) -> Result<Tz, ScheduleError> {
    Tz::from_str(name).map_err(|_| ScheduleError::TimeZone(name.to_owned()))
}

/// A schedule that has been checked.
#[derive(Clone, Debug)]
pub enum Timetable {
    /// Never.
    None,
    /// Whenever one of them says so, in a zone.
    Crons(Vec<Cron>, Tz),
    /// Every so many seconds.
    Interval(i64),
    /// One time.
    Once,
    /// Whenever there is room for a run.
    Continuous,
}

/// What besides the timetable says when a DAG runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// No slot before it.
    pub start: Option<DateTime<Utc>>,
    /// No slot after it.
    pub end: Option<DateTime<Utc>>,
    /// Whether slots that were missed are made up for. If not, only the latest one is.
    pub catchup: bool,
}

impl Timetable {
    /// The next slot to make a run for, after `last` (the slot of the latest scheduled run), seen from `now`. It may
    /// lie in the past: then it is due. Airflow's `next_dagrun_info`.
    #[must_use]
    pub fn next_slot(&self, window: Window, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let is_in_time = |slot: &DateTime<Utc>| window.end.is_none_or(|end| *slot <= end);
        match (self, last) {
            (Self::Once, None) => return Some(window.start.unwrap_or(now)).filter(is_in_time),
            (Self::Continuous, _) => {
                // No two runs of one logical date.
                let after_last = last.map(|last| last + chrono::Duration::microseconds(1));
                return after_last.into_iter().chain(window.start).chain([now]).max().filter(is_in_time);
            }
            _ => {}
        }
        let anchor = window.start.unwrap_or(DateTime::UNIX_EPOCH);
        let after_last = last.and_then(|last| self.after(last, anchor));
        // A start date may have been moved since the last one.
        let from_start = window.start.and_then(|start| self.at_or_after(start, anchor));
        let earliest = after_last.max(from_start).or_else(|| self.after(now, anchor))?;
        let slot = if window.catchup {
            earliest
        } else {
            self.at_or_before(now, anchor).map_or(earliest, |latest| latest.max(earliest))
        };
        Some(slot).filter(is_in_time)
    }

    /// The next slot to write down, given the one that stands written. A DAG without a start date that has never run
    /// keeps the slot that it was given first, as long as its timetable still has it.
    #[must_use]
    pub fn upcoming(
        &self,
        window: Window,
        last: Option<DateTime<Utc>>,
        written: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let anchor = window.start.unwrap_or(DateTime::UNIX_EPOCH);
        let stands = |slot: &DateTime<Utc>| {
            last.is_none() && window.start.is_none() && self.at_or_before(*slot, anchor) == Some(*slot)
        };
        written.filter(stands).or_else(|| self.next_slot(window, last, now))
    }

    /// Every slot between two instants, both included, at most so many of them, whatever the window says about catchup.
    /// None if the timetable has no slots.
    #[must_use]
    pub fn slots(
        &self,
        window: Window,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        at_most: usize,
    ) -> Option<Vec<DateTime<Utc>>> {
        if matches!(self, Self::None | Self::Once | Self::Continuous) {
            return None;
        }
        let anchor = window.start.unwrap_or(DateTime::UNIX_EPOCH);
        let first = window.start.map_or(from, |start| start.max(from));
        let last = window.end.map_or(to, |end| end.min(to));
        let slots = std::iter::successors(self.at_or_after(first, anchor), |slot| self.after(*slot, anchor));
        Some(slots.take_while(|slot| *slot <= last).take(at_most).collect())
    }

    fn after(&self, instant: DateTime<Utc>, anchor: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Crons(crons, zone) => next_of(crons, *zone, instant, false),
            Self::Interval(seconds) => on_grid(anchor, *seconds, steps_before(anchor, *seconds, instant)? + 1),
            Self::None | Self::Once | Self::Continuous => None,
        }
    }

    fn at_or_after(&self, instant: DateTime<Utc>, anchor: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Crons(crons, zone) => next_of(crons, *zone, instant, true),
            Self::Interval(_) => self.after(instant - chrono::Duration::microseconds(1), anchor),
            Self::None | Self::Once | Self::Continuous => None,
        }
    }

    fn at_or_before(&self, instant: DateTime<Utc>, anchor: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Crons(crons, zone) => {
                let local = instant.with_timezone(zone);
                let before = crons.iter().filter_map(|cron| cron.find_previous_occurrence(&local, true).ok());
                before.map(|slot| slot.with_timezone(&Utc)).max()
            }
            Self::Interval(seconds) => on_grid(anchor, *seconds, steps_before(anchor, *seconds, instant)?),
            Self::None | Self::Once | Self::Continuous => None,
        }
    }
}

/// Whole intervals from the anchor to an instant, which may lie before it.
fn steps_before(anchor: DateTime<Utc>, seconds: i64, instant: DateTime<Utc>) -> Option<i64> {
    Some((instant - anchor).num_microseconds()?.div_euclid(seconds.checked_mul(1_000_000)?))
}

fn on_grid(anchor: DateTime<Utc>, seconds: i64, steps: i64) -> Option<DateTime<Utc>> {
    anchor.checked_add_signed(chrono::Duration::seconds(steps.checked_mul(seconds)?))
}

/// The first slot of all of them after an instant, or at it.
fn next_of(crons: &[Cron], zone: Tz, instant: DateTime<Utc>, or_at: bool) -> Option<DateTime<Utc>> {
    let local = instant.with_timezone(&zone);
    let next = crons.iter().filter_map(|cron| cron.find_next_occurrence(&local, or_at).ok());
    next.map(|slot| slot.with_timezone(&Utc)).min()
}

/// By how much a run of a slot starts later, with a jitter: the same for the same slot, wherever it is reckoned, and
/// other DAGs have another.
#[must_use]
pub fn delay_within(jitter: Duration, dag: &DagId, slot: DateTime<Utc>) -> Duration {
    let digest = Sha256::digest(format!("{dag}@{}", slot.timestamp_micros()));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    jitter.mul_f64(u64::from_be_bytes(first) as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests;
