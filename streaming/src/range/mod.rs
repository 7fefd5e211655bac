//! The open range of one Kafka partition: from its last commit to the record that was read last.

mod hour;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use lake::{
    Event,
    layout::LogId,
    manifest::{Counts, RangeKind},
    report::Letter,
};

use self::hour::{Common, OpenHour};
use crate::{
    dead_letters::{DeadLetters, Envelope},
    decode::{Broken, Cell, Cells, Code, Decoder},
    file::{File, Hour, Properties},
    rows::Position,
    settings::{Placement, Rotation, TimeOf},
};

/// What waits in an hour is encoded to save memory only if it is so much: row groups that are too small cost the reader.
const WORTH_ENCODING: usize = 1 << 20;

/// What has been read since the last commit.
#[derive(Debug)]
pub struct OpenRange {
    common: Common,
    placement: Placement,
    /// Where the last commit ended.
    start: i64,
    prev_start: Option<i64>,
    next: i64,
    hours: BTreeMap<Hour, OpenHour>,
    /// About how many bytes the hours hold.
    held: usize,
    /// How many bytes of their files are written.
    written: usize,
    dead_letters: DeadLetters,
    counts: Counts,
    broken: BTreeMap<Code, Spoilt>,
    bytes: u64,
    timestamp_ms: Option<i64>,
    /// When the first record was read: the wall clock that rows carry, and the one that measures the age.
    opened: Option<(DateTime<Utc>, Instant)>,
}

/// Dead letters of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spoilt {
    /// How many.
    pub records: u64,
    /// The first one.
    pub first: Letter,
}

/// So much of a dead letter is shown to people.
const EXCERPT: usize = 200;

impl Spoilt {
    fn of(broken: &Broken, value: &[u8], at: Position<'_>) -> Self {
        // Neither a page nor a database takes every character.
        let readable = |text: &str| text.replace(char::is_control, "\u{fffd}");
        let excerpt = readable(&String::from_utf8_lossy(&value[..value.len().min(EXCERPT)]));
        let Position { topic, partition, offset, .. } = at;
        let (code, message) = (broken.code.as_str().to_owned(), readable(&broken.message));
        Self { records: 0, first: Letter { topic: topic.to_owned(), partition, offset, code, message, excerpt } }
    }
}

/// What could be done to hold less.
#[derive(Debug)]
pub enum Room {
    /// Rows that waited are encoded.
    Encoded,
    /// A file was finished.
    File(File),
    /// Nothing is held.
    None,
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
    /// Dead letters by what is wrong with them.
    pub broken: BTreeMap<Code, Spoilt>,
    /// Bytes of records.
    pub bytes: u64,
    /// What is not uploaded yet.
    pub files: Vec<File>,
}

impl OpenRange {
    /// Nothing read yet, from where the log ends.
    #[must_use]
    pub fn new(event: Event, log: LogId, placement: Placement, start: i64, prev_start: Option<i64>) -> Self {
        Self {
            common: Common { event, log, properties: Properties::of_rows(event) },
            placement,
            start,
            prev_start,
            next: start,
            hours: BTreeMap::new(),
            held: 0,
            written: 0,
            dead_letters: DeadLetters::default(),
            counts: Counts::default(),
            broken: BTreeMap::new(),
            bytes: 0,
            timestamp_ms: None,
            opened: None,
        }
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &LogId {
        &self.common.log
    }

    /// The offset that comes next; a record below it has been read already.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// About how many bytes it holds in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held + self.dead_letters.held()
    }

    /// How many dead letters are in it.
    #[must_use]
    pub fn invalid(&self) -> u64 {
        self.counts.invalid
    }

    /// Kafka's timestamp of the record that was read last.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// How many files it has begun.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.hours.len()
    }

    /// Whether nothing has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened.is_none()
    }

    /// Reads a record: a row, a dead letter, or a tombstone that is only counted. The first one of the range asks what
    /// time it is.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn read(
        &mut self,
        decoder: &mut Decoder,
        envelope: Option<Envelope<'_>>,
        at: Position<'_>,
        now: impl FnOnce() -> DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let (ingested, _) = *self.opened.get_or_insert_with(|| (now(), Instant::now()));
        self.counts.absent += u64::try_from(at.offset - self.next).unwrap_or(0);
        self.counts.read += 1;
        self.next = at.offset + 1;
        self.timestamp_ms = at.timestamp_ms.or(self.timestamp_ms);
        let Some(envelope) = envelope else {
            self.counts.tombstone += 1;
            return Ok(());
        };
        self.bytes += envelope.value.len() as u64;
        let full = decoder.decode(envelope.value, ingested, |decoded| {
            match decoded.and_then(|cells| Ok((cells, self.hour(cells, at, ingested)?))) {
                Ok((cells, hour)) => {
                    self.counts.valid += 1;
                    let open = self.hours.entry(hour).or_insert_with(|| OpenHour::new(self.common.event, hour));
                    self.held += open.push(cells, at, envelope.value.len());
                    open.is_group().then_some(hour)
                }
                Err(broken) => {
                    self.counts.invalid += 1;
                    let spoilt = || Spoilt::of(&broken, envelope.value, at);
                    self.broken.entry(broken.code).or_insert_with(spoilt).records += 1;
                    self.dead_letters.push(envelope, at, &broken);
                    None
                }
            }
        });
        full.map_or(Ok(()), |hour| self.encode(hour, ingested))
    }

    /// Whose hour's folder a row belongs to.
    fn hour(&self, cells: &Cells<'_>, at: Position<'_>, ingested: DateTime<Utc>) -> Result<Hour, Broken> {
        let micros = match self.placement.time_of {
            TimeOf::Ingestion => return Ok(Hour::of(ingested)),
            TimeOf::Record => at.timestamp_ms.map(|millis| millis.saturating_mul(1_000)),
            TimeOf::Event => match cells[self.common.event.time_field()] {
                Cell::Timestamp(micros) => Some(micros),
                _ => None,
            },
        };
        let Some(instant) = micros.and_then(DateTime::from_timestamp_micros) else { return Ok(Hour::of(ingested)) };
        let wrong = |code, bound: &str| {
            let message = format!("{instant} is more than {bound} {ingested}, when it was read");
            Err(Broken { code, message })
        };
        let late = self.placement.allowed_lateness_hours;
        if late.is_some_and(|hours| ingested - instant > TimeDelta::hours(i64::from(hours))) {
            return wrong(Code::TooLate, &format!("{} hours before", late.unwrap_or_default()));
        }
        let ahead = self.placement.max_ahead_hours;
        if instant - ingested > TimeDelta::hours(i64::from(ahead)) {
            return wrong(Code::TooEarly, &format!("{ahead} hours after"));
        }
        Ok(Hour::of(instant))
    }

    fn encode(&mut self, hour: Hour, ingested: DateTime<Utc>) -> anyhow::Result<()> {
        if let Some(open) = self.hours.get_mut(&hour) {
            open.encode(&self.common, ingested)?;
            self.measure();
        }
        Ok(())
    }

    fn measure(&mut self) {
        self.held = self.hours.values().map(OpenHour::held).sum();
        self.written = self.hours.values().map(OpenHour::written).sum();
    }

    /// Makes what holds the most smaller: rows that wait are encoded; a file is finished, to be uploaded before the
    /// range is committed.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn make_room(&mut self) -> anyhow::Result<Room> {
        let Some((ingested, _)) = self.opened else { return Ok(Room::None) };
        let biggest = self.hours.iter().max_by_key(|(_, open)| open.held()).map(|(hour, open)| (*hour, open));
        let file = match biggest {
            Some((hour, open)) if open.held() >= self.dead_letters.held() => {
                if open.pending() >= WORTH_ENCODING {
                    return self.encode(hour, ingested).map(|()| Room::Encoded);
                }
                let open = self.hours.remove(&hour);
                self.measure();
                open.map_or(Ok(None), |open| open.finish(&self.common, ingested))?
            }
            _ => std::mem::take(&mut self.dead_letters).into_file(Hour::of(ingested))?,
        };
        Ok(file.map_or(Room::None, Room::File))
    }

    /// Whether it is to be closed now.
    #[must_use]
    pub fn is_due(&self, rotation: &Rotation) -> bool {
        self.counts.read >= rotation.rotate_rows
            || self.written as u64 >= rotation.file_bytes
            || self.until_due(rotation) == Some(Duration::ZERO)
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
        let Common { event, log, .. } = &self.common;
        let after = Self::new(*event, log.clone(), self.placement, self.next, Some(self.start));
        let whole = std::mem::replace(self, after);
        let mut files = Vec::new();
        for open in whole.hours.into_values() {
            files.extend(open.finish(&whole.common, ingestion_time)?);
        }
        files.extend(whole.dead_letters.into_file(Hour::of(ingestion_time))?);
        Ok(Some(ClosedRange {
            event: whole.common.event,
            log: whole.common.log,
            kind: RangeKind::Data,
            start: whole.start,
            end: whole.next,
            prev_start: whole.prev_start,
            ingestion_time,
            counts: whole.counts,
            broken: whole.broken,
            bytes: whole.bytes,
            files,
        }))
    }
}

#[cfg(test)]
mod tests;
