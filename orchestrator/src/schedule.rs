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

    /// The schedule in a few words, as the UI and the API show it.
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
            (Self::Once, Some(_)) => return None,
            (Self::Once, None) => return Some(window.start.unwrap_or(now)).filter(is_in_time),
            (Self::Continuous, _) => {
                // No two runs of one logical date.
                let earliest = last.map(|last| last + chrono::Duration::microseconds(1)).or(window.start);
                return Some(earliest.map_or(now, |earliest| earliest.max(now))).filter(is_in_time);
            }
            _ => {}
        }
        let anchor = window.start.unwrap_or(DateTime::UNIX_EPOCH);
        let after_last = match (last, window.start) {
            (Some(last), _) => self.after(last, anchor),
            (None, Some(start)) => self.at_or_after(start, anchor),
            (None, None) => self.after(now, anchor),
        }?;
        let slot = if window.catchup {
            after_last
        } else {
            self.at_or_before(now, anchor).map_or(after_last, |latest| latest.max(after_last))
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
            Self::Interval(seconds) => {
                let steps = (instant - anchor).num_seconds().div_euclid(*seconds) + 1;
                anchor.checked_add_signed(chrono::Duration::seconds(steps.checked_mul(*seconds)?))
            }
            Self::None | Self::Once | Self::Continuous => None,
        }
    }

    fn at_or_after(&self, instant: DateTime<Utc>, anchor: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Crons(crons, zone) => next_of(crons, *zone, instant, true),
            Self::Interval(_) => self.after(instant - chrono::Duration::seconds(1), anchor),
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
            Self::Interval(seconds) => {
                let steps = (instant - anchor).num_seconds().div_euclid(*seconds);
                anchor.checked_add_signed(chrono::Duration::seconds(steps.checked_mul(*seconds)?))
            }
            Self::None | Self::Once | Self::Continuous => None,
        }
    }
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn next(schedule: &Schedule, window: Window, last: Option<&str>, now: &str) -> Option<DateTime<Utc>> {
        schedule.parse().unwrap().next_slot(window, last.map(at), at(now))
    }

    fn since(start: &str) -> Window {
        Window { start: Some(at(start)), ..Window::default() }
    }

    #[test]
    fn without_catchup_only_the_latest_missed_slot_is_due() {
        let every_ten = Schedule::cron("*/10 * * * *");
        let window = since("2023-01-01T00:00:00Z");
        assert_eq!(next(&every_ten, window, None, "2026-11-22T13:47:00Z"), Some(at("2026-11-22T13:40:00Z")));
        assert_eq!(
            next(&every_ten, window, Some("2026-11-22T10:00:00Z"), "2026-11-22T13:47:00Z"),
            Some(at("2026-11-22T13:40:00Z"))
        );
        assert_eq!(
            next(&every_ten, window, Some("2026-11-22T13:40:00Z"), "2026-11-22T13:47:00Z"),
            Some(at("2026-11-22T13:50:00Z"))
        );
    }

    #[test]
    fn with_catchup_no_slot_is_left_out() {
        let window = Window { catchup: true, ..since("2026-01-01T00:30:00Z") };
        let hourly = Schedule::cron("@hourly");
        assert_eq!(next(&hourly, window, None, "2026-01-05T00:00:00Z"), Some(at("2026-01-01T01:00:00Z")));
        assert_eq!(
            next(&hourly, window, Some("2026-01-01T01:00:00Z"), "2026-01-05T00:00:00Z"),
            Some(at("2026-01-01T02:00:00Z"))
        );
    }

    #[test]
    fn without_a_start_date_the_first_slot_lies_ahead() {
        let daily = Schedule::cron("0 6 * * *");
        assert_eq!(next(&daily, Window::default(), None, "2026-11-22T13:47:00Z"), Some(at("2026-11-23T06:00:00Z")));
    }

    #[test]
    fn nothing_after_the_end_date_and_nothing_without_a_schedule() {
        let window = Window { end: Some(at("2026-01-01T00:00:00Z")), ..Window::default() };
        assert_eq!(next(&Schedule::cron("@daily"), window, None, "2026-01-01T00:00:01Z"), None);
        assert_eq!(next(&Schedule::None, Window::default(), None, "2026-01-01T00:00:00Z"), None);
    }

    #[test]
    fn clocks_that_change() {
        let schedule = Schedule::cron_in("30 2 * * *", "Europe/Amsterdam");
        let table = [
            ("2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"), // 02:30 does not exist: 03:00 local
            ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"), // 02:30 exists twice: the first one
            ("2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"), // and not the second
        ];
        for (now, expected) in table {
            assert_eq!(next(&schedule, Window::default(), None, now), Some(at(expected)), "after {now}");
        }
    }

    #[test]
    fn of_several_crons_the_next_one_fires_once_and_continuous_when_it_has_room() {
        let both = Schedule::crons_in(["0 6 * * *", "0 18 * * *", "0 6 * * 1"], "UTC");
        let window = since("2026-11-22T00:00:00Z");
        let slots = [
            ("2026-11-22T06:00:00Z", "2026-11-22T18:00:00Z"),
            ("2026-11-22T18:00:00Z", "2026-11-23T06:00:00Z"),
            ("2026-11-23T06:00:00Z", "2026-11-23T18:00:00Z"),
        ];
        for (last, expected) in slots {
            assert_eq!(next(&both, window, Some(last), last), Some(at(expected)));
        }
        let now = "2026-11-22T13:47:00Z";
        assert_eq!(next(&Schedule::Once, Window::default(), None, now), Some(at(now)));
        assert_eq!(next(&Schedule::Once, window, None, now), window.start);
        assert_eq!(next(&Schedule::Once, window, Some(now), now), None);
        assert_eq!(next(&Schedule::Continuous, window, None, now), Some(at(now)));
        assert!(next(&Schedule::Continuous, window, Some(now), now) > Some(at(now)));
        let ended = Window { end: Some(at("2026-11-22T13:00:00Z")), ..window };
        assert_eq!(next(&Schedule::Continuous, ended, None, now), None);
    }

    #[test]
    fn a_jitter_is_the_same_for_the_same_slot_and_never_too_long() {
        let (dag, jitter) = (DagId::from("d"), Duration::from_secs(60));
        let delays: Vec<_> = (0..100)
            .map(|minute| delay_within(jitter, &dag, at("2026-11-22T00:00:00Z") + chrono::Duration::minutes(minute)))
            .collect();
        assert_eq!(delays[0], delay_within(jitter, &dag, at("2026-11-22T00:00:00Z")));
        assert!(delays.iter().all(|delay| *delay <= jitter));
        assert!(delays.iter().any(|delay| *delay > jitter / 2) && delays.iter().any(|delay| *delay < jitter / 2));
    }

    #[test]
    fn a_bad_schedule_says_what_is_wrong() {
        assert!(matches!(Schedule::cron("61 * * * *").parse(), Err(ScheduleError::Cron { .. })));
        assert_eq!(
            Schedule::cron_in("@daily", "Mars/Olympus").parse().unwrap_err(),
            ScheduleError::TimeZone("Mars/Olympus".to_owned())
        );
        assert_eq!(Schedule::every(Duration::ZERO).parse().unwrap_err(), ScheduleError::Interval);
    }

    proptest! {
        #[test]
        fn slots_go_forward_and_intervals_keep_their_grid(
            seconds in 1_u64..100_000, start in 0_i64..2_000_000_000, ahead in 0_i64..100_000_000, catchup: bool,
        ) {
            let timetable = Schedule::every(Duration::from_secs(seconds)).parse().unwrap();
            let start = DateTime::from_timestamp(start, 0).unwrap();
            let now = start + chrono::Duration::seconds(ahead);
            let window = Window { start: Some(start), end: None, catchup };
            let first = timetable.next_slot(window, None, now).unwrap();
            let second = timetable.next_slot(window, Some(first), now).unwrap();
            prop_assert!(first >= start && second > first);
            prop_assert_eq!((second - start).num_seconds() % seconds as i64, 0);
            if catchup {
                prop_assert_eq!(first, start);
            } else {
                prop_assert!(second > now);
            }
        }
    }

    #[test]
    fn a_schedule_in_a_few_words() {
        for (schedule, summary) in [
            (Schedule::None, "no schedule"),
            (Schedule::cron("5 4 * * *"), "5 4 * * *"),
            (Schedule::cron_in("5 4 * * *", "Europe/Amsterdam"), "5 4 * * * (Europe/Amsterdam)"),
            (Schedule::crons_in(["5 4 * * *", "@daily"], "UTC"), "5 4 * * *, @daily"),
            (Schedule::crons_in(["5 4 * * *", "@daily"], "Asia/Tokyo"), "5 4 * * *, @daily (Asia/Tokyo)"),
            (Schedule::every(Duration::from_secs(90)), "every 90 s"),
            (Schedule::all_assets(["a", "b"]), "a and b"),
            (Schedule::any_asset(["a", "b"]), "a or b"),
            (Schedule::Once, "@once"),
            (Schedule::Continuous, "@continuous"),
        ] {
            assert_eq!(schedule.summary(), summary);
        }
    }

    #[test]
    fn a_schedule_of_assets_names_some() {
        for (none, some) in [
            (Schedule::all_assets([]), Schedule::all_assets(["a", "b"])),
            (Schedule::any_asset([]), Schedule::any_asset(["a", "b"])),
        ] {
            assert_eq!(none.parse().unwrap_err(), ScheduleError::NoAsset);
            assert!(matches!(some.parse(), Ok(Timetable::None)));
            assert_eq!(some.assets(), ["a", "b"]);
        }
        assert!(Schedule::Once.assets().is_empty());
    }

    #[test]
    fn the_slot_that_stands_written_stays_while_the_timetable_has_it() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (written, now) = (at("2026-03-02T00:00:00Z"), at("2026-03-05T12:00:00Z"));
        let daily = Schedule::cron("@daily").parse().unwrap();
        let next = Some(at("2026-03-06T00:00:00Z"));
        let never_run = Window::default();
        assert_eq!(daily.upcoming(never_run, None, Some(written), now), Some(written));
        assert_eq!(daily.upcoming(never_run, None, Some(at("2026-03-02T01:00:00Z")), now), next, "another timetable");
        assert_eq!(daily.upcoming(never_run, None, None, now), next);
        let started = Window { start: Some(at("2026-03-04T00:00:00Z")), catchup: true, ..Window::default() };
        assert_eq!(daily.upcoming(started, None, Some(written), now), started.start, "its start date counts");
        let last = Some(at("2026-03-04T00:00:00Z"));
        assert_eq!(daily.upcoming(never_run, last, Some(written), now), Some(at("2026-03-05T00:00:00Z")));
        let once = Schedule::Once.parse().unwrap();
        assert_eq!(once.next_slot(never_run, None, now), Some(now));
        assert_eq!(once.next_slot(never_run, Some(written), now), None);
    }

    #[test]
    fn the_slots_between_two_instants() {
        let at = |day: u32| DateTime::parse_from_rfc3339(&format!("2026-03-{day:02}T00:00:00Z")).unwrap().to_utc();
        let daily = Schedule::cron("@daily").parse().unwrap();
        let slots = |window, from, to, most| daily.slots(window, at(from), at(to), most).unwrap();
        assert_eq!(slots(Window::default(), 2, 4, 10), [at(2), at(3), at(4)]);
        assert_eq!(slots(Window::default(), 2, 4, 2), [at(2), at(3)]);
        let window = Window { start: Some(at(3)), end: Some(at(5)), catchup: false };
        assert_eq!(slots(window, 1, 9, 10), [at(3), at(4), at(5)]);
        assert!(Schedule::Once.parse().unwrap().slots(window, at(1), at(9), 10).is_none());
    }
}
