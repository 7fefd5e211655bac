//! The open range of one Kafka partition: from its last commit to the record that was read last.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
};
use chrono::{DateTime, TimeDelta, Utc};
use lake::{
    Event,
    layout::LogId,
    manifest::{Counts, RangeKind},
};

use crate::{
    dead_letters::{DeadLetters, Envelope},
    decode::{Broken, Cell, Cells, Code, Decoder},
    file::{File, FileOf, Hour, OpenFile, Properties},
    rows::{Position, Rows, schema},
    settings::{Placement, Rotation, TimeOf},
};

/// Rows are encoded when so many have come: enough to be quick, few enough to stay in the cache.
const BATCH_ROWS: usize = 1_024;

/// ... or so many bytes of records.
const BATCH_BYTES: usize = 4 << 20;

/// What has been read since the last commit.
#[derive(Debug)]
pub struct OpenRange {
    event: Event,
    log: LogId,
    placement: Placement,
    properties: Properties,
    /// Where the last commit ended.
    start: i64,
    prev_start: Option<i64>,
    next: i64,
    /// Not encoded yet, and the hour of each.
    rows: Rows,
    hours: Vec<Hour>,
    pending: usize,
    files: BTreeMap<Hour, OpenFile>,
    /// What the files hold, and what they will have on disk.
    encoded: (usize, usize),
    dead_letters: DeadLetters,
    counts: Counts,
    broken: BTreeMap<Code, u64>,
    bytes: u64,
    timestamp_ms: Option<i64>,
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
    /// Dead letters by what is wrong with them.
    pub broken: BTreeMap<Code, u64>,
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
            event,
            log,
            placement,
            properties: Properties::of_rows(event),
            start,
            prev_start,
            next: start,
            rows: Rows::new(event),
            hours: Vec::new(),
            pending: 0,
            files: BTreeMap::new(),
            encoded: (0, 0),
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
        &self.log
    }

    /// The offset that comes next; a record below it has been read already.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// About how many bytes it holds in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pending + self.encoded.0 + self.dead_letters.held()
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
        self.files.len()
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
        decoder.decode(envelope.value, ingested, |decoded| {
            let placed = decoded.and_then(|cells| Ok((cells, self.hour(cells, at, ingested)?)));
            match placed {
                Ok((cells, hour)) => {
                    self.counts.valid += 1;
                    self.rows.push(cells, at);
                    self.hours.push(hour);
                    self.pending += envelope.value.len() + ROW_OVERHEAD;
                }
                Err(broken) => {
                    self.counts.invalid += 1;
                    *self.broken.entry(broken.code).or_default() += 1;
                    self.dead_letters.push(envelope, at, &broken);
                }
            }
        });
        if self.rows.count() >= BATCH_ROWS || self.pending >= BATCH_BYTES {
            self.encode()?;
        }
        Ok(())
    }

    /// Whose hour's folder a row belongs to.
    fn hour(&self, cells: &Cells<'_>, at: Position<'_>, ingested: DateTime<Utc>) -> Result<Hour, Broken> {
        let micros = match self.placement.time_of {
            TimeOf::Ingestion => return Ok(Hour::of(ingested)),
            TimeOf::Record => at.timestamp_ms.map(|millis| millis.saturating_mul(1_000)),
            TimeOf::Event => match cells[self.event.time_field()] {
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

    /// Writes the rows that wait into the files of their hours.
    fn encode(&mut self) -> anyhow::Result<()> {
        let Some((ingested, _)) = self.opened.filter(|_| self.rows.count() > 0) else { return Ok(()) };
        let batch = self.rows.take(&self.log.topic, self.log.partition, ingested)?;
        let hours = std::mem::take(&mut self.hours);
        self.pending = 0;
        for (hour, batch) in by_hour(batch, &hours)? {
            let file = match self.files.entry(hour) {
                Entry::Occupied(file) => file.into_mut(),
                Entry::Vacant(none) => {
                    none.insert(OpenFile::new(FileOf::Rows(hour), schema(self.event), &self.properties)?)
                }
            };
            file.append(&batch)?;
        }
        self.measure();
        Ok(())
    }

    fn measure(&mut self) {
        let sum = |of: fn(&OpenFile) -> usize| self.files.values().map(of).sum();
        self.encoded = (sum(OpenFile::held), sum(OpenFile::size));
    }

    /// Finishes what holds the most, to be uploaded before the range is committed. None if it holds nothing.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn roll(&mut self) -> anyhow::Result<Option<File>> {
        self.encode()?;
        let Some((ingested, _)) = self.opened else { return Ok(None) };
        let biggest = self.files.iter().map(|(hour, file)| (file.held(), *hour)).max();
        let file = match biggest {
            Some((held, hour)) if held >= self.dead_letters.held() => self.files.remove(&hour),
            _ => return std::mem::take(&mut self.dead_letters).into_file(Hour::of(ingested)),
        };
        self.measure();
        file.map(OpenFile::finish).transpose()
    }

    /// Whether it is to be closed now.
    #[must_use]
    pub fn is_due(&self, rotation: &Rotation) -> bool {
        let size = self.encoded.1 as u64;
        self.counts.read >= rotation.rotate_rows
            || size >= rotation.file_bytes
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
        self.encode()?;
        let Some((ingestion_time, _)) = self.opened else { return Ok(None) };
        let after = Self::new(self.event, self.log.clone(), self.placement, self.next, Some(self.start));
        let whole = std::mem::replace(self, after);
        let mut files = whole.files.into_values().map(OpenFile::finish).collect::<anyhow::Result<Vec<_>>>()?;
        files.extend(whole.dead_letters.into_file(Hour::of(ingestion_time))?);
        Ok(Some(ClosedRange {
            event: whole.event,
            log: whole.log,
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

/// What a row holds besides the bytes of its record: where it stood, and its hour.
const ROW_OVERHEAD: usize = 32;

/// Splits rows by their hours; nearly always there is one.
fn by_hour(batch: RecordBatch, hours: &[Hour]) -> anyhow::Result<Vec<(Hour, RecordBatch)>> {
    let Some(first) = hours.first() else { return Ok(Vec::new()) };
    if hours.iter().all(|hour| hour == first) {
        return Ok(vec![(*first, batch)]);
    }
    let mut places: BTreeMap<Hour, Vec<u32>> = BTreeMap::new();
    for (at, hour) in (0_u32..).zip(hours) {
        places.entry(*hour).or_default().push(at);
    }
    let take = |(hour, places)| anyhow::Ok((hour, take_record_batch(&batch, &UInt32Array::from(places))?));
    places.into_iter().map(take).collect()
}

#[cfg(test)]
mod tests;
