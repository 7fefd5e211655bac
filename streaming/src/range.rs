//! The open range of one Kafka partition: from its last commit to the record that was read last.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lake::{
    Event,
    layout::LogId,
    manifest::{Counts, RangeKind},
};

use crate::{
    dead_letters::{DeadLetters, Envelope},
    decode::decode,
    rows::{File, Position, Rows},
    settings::Rotation,
};

/// What has been read since the last commit.
#[derive(Debug)]
pub struct OpenRange {
    event: Event,
    log: LogId,
    /// Where the last commit ended.
    start: i64,
    prev_start: Option<i64>,
    next: i64,
    rows: Rows,
    dead_letters: DeadLetters,
    counts: Counts,
    bytes: u64,
    /// When the first record was read: the wall clock that rows carry, and the one that measures the age.
    opened: Option<(DateTime<Utc>, Instant)>,
}

/// A range that is to be committed.
#[derive(Clone, Debug)]
pub struct ClosedRange {
    /// The event of its topic.
    pub event: Event,
    /// Its log.
    pub log: LogId,
    /// What it is.
    pub kind: RangeKind,
    /// The first offset.
    pub start: i64,
    /// The offset after the last one.
    pub end: i64,
    /// The start of the manifest before.
    pub prev_start: Option<i64>,
    /// What all rows carry.
    pub ingestion_time: DateTime<Utc>,
    /// What became of the offsets.
    pub counts: Counts,
    /// The rows.
    pub rows: Option<File>,
    /// The dead letters.
    pub dead_letters: Option<File>,
}

impl OpenRange {
    /// Nothing read yet, from where the log ends.
    #[must_use]
    pub fn new(event: Event, log: LogId, start: i64, prev_start: Option<i64>) -> Self {
        Self {
            event,
            log,
            start,
            prev_start,
            next: start,
            rows: Rows::new(event),
            dead_letters: DeadLetters::default(),
            counts: Counts::default(),
            bytes: 0,
            opened: None,
        }
    }

    /// The offset that comes next; a record below it has been read already.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// How many bytes of records it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened.is_none()
    }

    /// Reads a record: a row, a dead letter, or a tombstone that is only counted.
    pub fn read(&mut self, envelope: Option<Envelope<'_>>, at: Position<'_>, now: DateTime<Utc>) {
        let (ingested, _) = *self.opened.get_or_insert_with(|| (now, Instant::now()));
        self.counts.absent += u64::try_from(at.offset - self.next).unwrap_or(0);
        self.counts.read += 1;
        self.next = at.offset + 1;
        let Some(envelope) = envelope else {
            self.counts.tombstone += 1;
            return;
        };
        self.bytes += envelope.value.len() as u64;
        match decode(self.event, envelope.value, ingested) {
            Ok(cells) => {
                self.counts.valid += 1;
                self.rows.push(cells, at);
            }
            Err(broken) => {
                self.counts.invalid += 1;
                self.dead_letters.push(envelope, at, &broken);
            }
        }
    }

    /// Whether it is to be closed now.
    #[must_use]
    pub fn is_due(&self, rotation: &Rotation) -> bool {
        let age = self.opened.map_or(Duration::ZERO, |(_, opened)| opened.elapsed());
        self.counts.read >= rotation.rotate_rows || self.bytes >= rotation.rotate_bytes || age >= rotation.age()
    }

    /// How long until its age alone closes it.
    #[must_use]
    pub fn until_due(&self, rotation: &Rotation) -> Option<Duration> {
        self.opened.map(|(_, opened)| rotation.age().saturating_sub(opened.elapsed()))
    }

    /// Takes what was read, and begins the range after it.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn close(&mut self) -> anyhow::Result<Option<ClosedRange>> {
        let Some((ingestion_time, _)) = self.opened else { return Ok(None) };
        let after = Self::new(self.event, self.log.clone(), self.next, Some(self.start));
        let whole = std::mem::replace(self, after);
        let rows = if whole.rows.count() > 0 { Some(whole.rows.into_file(ingestion_time)?) } else { None };
        let dead_letters = if whole.dead_letters.count() > 0 { Some(whole.dead_letters.into_file()?) } else { None };
        Ok(Some(ClosedRange {
            event: whole.event,
            log: whole.log,
            kind: RangeKind::Data,
            start: whole.start,
            end: whole.next,
            prev_start: whole.prev_start,
            ingestion_time,
            counts: whole.counts,
            rows,
            dead_letters,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> OpenRange {
        let log = LogId { app: "shop".into(), topic: "website_traffic".into(), epoch: 1, partition: 0 };
        OpenRange::new(Event::Traffic, log, 10, None)
    }

    #[test]
    fn every_offset_of_a_range_is_accounted_for() {
        let now = "2026-11-22T13:00:00Z".parse().unwrap();
        let good = br#"{"pageUrl":"/home","visitCount":1,"lastVisit":"2026-11-22T12:00:00"}"#.as_slice();
        let mut range = range();
        assert!(range.close().unwrap().is_none(), "nothing was read, so nothing is committed");
        // 11 and 12 are transaction markers that Kafka gives no record for.
        for (offset, value) in [(10, Some(good)), (13, Some(b"{".as_slice())), (14, None), (15, Some(good))] {
            let at = Position { topic: "website_traffic", partition: 0, offset, timestamp_ms: None };
            range.read(value.map(|value| Envelope { value, ..Envelope::default() }), at, now);
        }
        let closed = range.close().unwrap().unwrap();
        let expected = Counts { read: 4, valid: 2, invalid: 1, tombstone: 1, absent: 2 };
        assert_eq!((closed.start, closed.end, closed.counts), (10, 16, expected));
        assert_eq!((closed.rows.unwrap().rows, closed.dead_letters.unwrap().rows), (2, 1));
        assert_eq!((range.next(), range.is_empty()), (16, true));
    }
}
