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
fn a_start_date_that_is_moved_counts_for_what_comes() {
    let (last, now) = (Some("2026-11-22T13:00:00Z"), "2026-11-22T13:47:00Z");
    for catchup in [false, true] {
        let window = Window { catchup, ..since("2026-11-25T06:30:00Z") };
        assert_eq!(next(&Schedule::cron("@hourly"), window, last, now), Some(at("2026-11-25T07:00:00Z")));
        assert_eq!(next(&Schedule::Continuous, window, last, now), window.start);
    }
}

#[test]
fn an_interval_keeps_its_grid_for_every_instant() {
    let every_ten = Schedule::every(Duration::from_secs(10)).parse().unwrap();
    let anchor = at("2026-01-01T00:00:00Z");
    let slots = |from: &str| every_ten.slots(since("2026-01-01T00:00:00Z"), at(from), at("2026-01-01T00:00:20Z"), 9);
    assert_eq!(slots("2026-01-01T00:00:10Z").unwrap()[0], at("2026-01-01T00:00:10Z"));
    assert_eq!(
        slots("2026-01-01T00:00:10.5Z").unwrap(),
        [at("2026-01-01T00:00:20Z")],
        "none before what was asked for"
    );
    let before = at("2025-12-31T23:59:59.5Z");
    assert_eq!(every_ten.after(before, anchor), Some(anchor));
    assert_eq!(every_ten.at_or_after(before, anchor), Some(anchor));
    assert_eq!(every_ten.at_or_before(before, anchor), Some(at("2025-12-31T23:59:50Z")));
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

/// What runs every so often goes on as time does: the hour that comes twice has all of its slots twice, the one that does not
/// come has none, as with Vixie's cron.
#[test]
fn clocks_that_change_beside_crons_with_wildcards() {
    let cases = [
        ("*/30 * * * *", "2026-10-25T00:00:00Z", 6, "2026-10-25T03:00:00Z"),
        ("*/30 * * * *", "2026-03-29T00:00:00Z", 6, "2026-03-29T03:00:00Z"),
        ("0 * * * *", "2026-10-24T22:00:00Z", 25, "2026-10-25T23:00:00Z"),
        ("0 * * * *", "2026-03-28T23:00:00Z", 23, "2026-03-29T22:00:00Z"),
        ("15 */2 * * *", "2026-10-24T22:15:00Z", 13, "2026-10-25T23:15:00Z"),
        ("15 */2 * * *", "2026-03-28T23:15:00Z", 11, "2026-03-29T22:15:00Z"),
    ];
    for (cron, from, slots, until) in cases {
        let timetable = Schedule::cron_in(cron, "Europe/Amsterdam").parse().unwrap();
        let window = Window { catchup: true, ..since(from) };
        let mut slot = at(from);
        for _ in 0..slots {
            slot = timetable.next_slot(window, Some(slot), at("2027-01-01T00:00:00Z")).unwrap();
        }
        assert_eq!(slot, at(until), "{slots} slots of {cron} after {from}");
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
fn a_schedule_as_people_read_it() {
    for (schedule, words) in [
        (Schedule::cron("0 6 * * *"), "At 06:00, every day"),
        (Schedule::cron("0 9 * * 1"), "At 09:00, on Monday"),
        (Schedule::crons_in(["0 9 * * 1", "0 6 * * *"], "UTC"), "At 09:00, on Monday; At 06:00, every day"),
        (Schedule::cron("*/10 * * * *"), "Every 10 minutes"),
        (Schedule::cron_in("0 6 * * *", "Europe/Amsterdam"), "At 06:00, every day (Europe/Amsterdam)"),
        (Schedule::cron("nonsense"), "nonsense"),
        (Schedule::all_assets(["a", "b"]), "When all of a, b are updated"),
        (Schedule::any_asset(["a", "b"]), "When any of a, b is updated"),
        (Schedule::Once, "Once"),
        (Schedule::Continuous, "Always one run"),
        (Schedule::every(Duration::from_secs(90)), "every 90 s"),
        (Schedule::None, "no schedule"),
    ] {
        assert_eq!(schedule.in_words(), words);
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
