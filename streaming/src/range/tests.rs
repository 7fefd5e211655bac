use super::*;
use crate::file::FileOf;

const GOOD: &[u8] = br#"{"pageUrl":"/home","visitCount":1,"lastVisit":"2026-11-22T12:00:00"}"#;

fn range(placement: Placement) -> OpenRange {
    let log = LogId { app: "shop".into(), topic: "website_traffic".into(), epoch: 1, partition: 0 };
    OpenRange::new(Event::Traffic, log, placement, 10, None)
}

fn now() -> DateTime<Utc> {
    "2026-11-22T13:00:00Z".parse().unwrap()
}

fn read(range: &mut OpenRange, offset: i64, timestamp_ms: Option<i64>, value: Option<&[u8]>) {
    let at = Position { topic: "website_traffic", partition: 0, offset, timestamp_ms };
    range.read(&mut Decoder::new(Event::Traffic), value.map(Envelope::bare), at, now).unwrap();
}

#[test]
fn every_offset_of_a_range_is_accounted_for() {
    let mut range = range(Placement::default());
    assert!(range.close().unwrap().is_none(), "nothing was read, so nothing is committed");
    // 11 and 12 are transaction markers that Kafka gives no record for.
    for (offset, value) in [(10, Some(GOOD)), (13, Some(b"{".as_slice())), (14, None), (15, Some(GOOD))] {
        read(&mut range, offset, None, value);
    }
    let closed = range.close().unwrap().unwrap();
    let expected = Counts { read: 4, valid: 2, invalid: 1, tombstone: 1, absent: 2 };
    assert_eq!((closed.start, closed.end, closed.counts), (10, 16, expected));
    let spoilt: Vec<_> =
        closed.broken.iter().map(|(code, spoilt)| (*code, spoilt.records, spoilt.first.offset)).collect();
    assert_eq!(spoilt, [(Code::MalformedJson, 1, 13)]);
    let files: Vec<_> = closed.files.iter().map(|file| (file.of, file.rows)).collect();
    let hour = Hour::of(now());
    assert_eq!(files, [(FileOf::Rows(hour), 2), (FileOf::DeadLetters(hour), 1)]);
    assert_eq!((range.next(), range.is_empty(), range.held()), (16, true, 0));
}

#[test]
fn by_the_time_of_the_record_each_hour_has_its_file() {
    let placement = Placement { time_of: TimeOf::Record, allowed_lateness_hours: Some(2), max_ahead_hours: 1 };
    let mut range = range(placement);
    let at = |minutes: i64| Some((now() + TimeDelta::minutes(minutes)).timestamp_millis());
    for (offset, minutes) in [(10, 0), (11, -30), (12, -120), (13, -121), (14, 60), (15, 61), (16, -45)] {
        read(&mut range, offset, at(minutes), Some(GOOD));
    }
    read(&mut range, 17, None, Some(GOOD));
    let closed = range.close().unwrap().unwrap();
    let spoilt: Vec<_> =
        closed.broken.iter().map(|(code, spoilt)| (*code, spoilt.records, spoilt.first.offset)).collect();
    assert_eq!(spoilt, [(Code::TooLate, 1, 13), (Code::TooEarly, 1, 15)]);
    let rows = closed.files.iter().map(|file| (file.of, file.rows, file.first_offset, file.last_offset));
    let hour = |ago: i64| Hour::of(now() - TimeDelta::hours(ago));
    let expected = [
        (FileOf::Rows(hour(2)), 1, 12, 12),
        (FileOf::Rows(hour(1)), 2, 11, 16),
        (FileOf::Rows(hour(0)), 2, 10, 17),
        (FileOf::Rows(hour(-1)), 1, 14, 14),
        (FileOf::DeadLetters(hour(0)), 2, 13, 15),
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

#[test]
fn by_the_time_of_the_event_its_own_field_counts() {
    let mut range = range(Placement { time_of: TimeOf::Event, ..Placement::default() });
    read(&mut range, 10, Some(now().timestamp_millis()), Some(GOOD));
    let closed = range.close().unwrap().unwrap();
    assert_eq!(closed.files[0].of, FileOf::Rows(Hour::of("2026-11-22T12:00:00Z".parse().unwrap())));
}

#[test]
fn what_is_rolled_early_is_not_in_the_range_again() {
    let mut range = range(Placement { time_of: TimeOf::Record, ..Placement::default() });
    for offset in 0..100 {
        let hour = now() - TimeDelta::hours(if offset % 10 == 0 { 1 } else { 0 });
        read(&mut range, 10 + offset, Some(hour.timestamp_millis()), Some(GOOD));
    }
    read(&mut range, 110, None, Some(b"{"));
    let mut all = Vec::new();
    while let Room::File(file) = range.make_room().unwrap() {
        all.push(file);
    }
    assert_eq!((all.len(), range.held()), (3, 0));
    let closed = range.close().unwrap().unwrap();
    assert!(closed.files.is_empty());
    assert_eq!((closed.counts.valid, all.iter().map(|file| file.rows).sum::<u64>()), (100, 101));
    assert_eq!((closed.start, closed.end), (10, 111));
}
