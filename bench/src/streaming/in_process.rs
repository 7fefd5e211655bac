//! Records in memory → rows → Parquet in memory, on one core; and what a parse of them alone takes.

use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use chrono::Utc;
use lake::{Event, layout::LogId};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use rand::RngExt;
use simd_json::{Buffers, Tape};
use streaming::{
    dead_letters::Envelope,
    decode::Decoder,
    file::{File, FileOf},
    range::OpenRange,
    rows::Position,
    settings::{Placement, Rotation},
    shop,
};

use super::Line;

/// Records behind each other.
struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    invalid: u64,
}

impl Records {
    fn make(event: Event, bytes: u64, invalid: f64) -> Self {
        let mut rng = rand::rng();
        let mut records = Self { bytes: Vec::new(), ends: Vec::new(), invalid: 0 };
        while (records.bytes.len() as u64) < bytes {
            let is_invalid = rng.random_bool(invalid);
            let message = if is_invalid { shop::invalid(event, &mut rng) } else { shop::valid(event, &mut rng) };
            records.invalid += u64::from(is_invalid);
            records.bytes.extend_from_slice(&message.value);
            records.ends.push(records.bytes.len());
        }
        records
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

pub(super) fn run(event: Event, bytes: u64, invalid: f64) -> anyhow::Result<Line> {
    let records = Records::make(event, bytes, invalid);
    let mut core = CpuSet::new();
    core.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &core)?;

    let parse = Instant::now();
    let parsed = parse_all(&records);
    let parse = parse.elapsed();
    ensure!(parsed as u64 >= records.ends.len() as u64 - records.invalid, "records that cannot be parsed: {parsed}");

    let (began, cpu) = (Instant::now(), crate::cpu::of(std::process::id()));
    let files = convert(event, &records)?;
    let (took, cpu) = (began.elapsed(), crate::cpu::of(std::process::id()) - cpu);

    let read_back = |wanted: fn(FileOf) -> bool| -> anyhow::Result<u64> {
        files.iter().filter(|file| wanted(file.of)).map(|file| rows_of(file.data.clone())).sum()
    };
    let rows = read_back(|of| matches!(of, FileOf::Rows(_)))?;
    let dead_letters = read_back(|of| matches!(of, FileOf::DeadLetters(_)))?;
    let events = records.ends.len() as u64;
    ensure!(rows + dead_letters == events, "{events} records, but {rows} rows and {dead_letters} dead letters");
    ensure!(dead_letters == records.invalid, "{} were broken, {dead_letters} are dead letters", records.invalid);
    let megabytes = records.bytes.len() as f64 / 1e6;
    Ok(Line {
        case: event.name().to_owned(),
        events,
        bytes_per_event: records.bytes.len() as f64 / events as f64,
        mb_per_s: megabytes / took.as_secs_f64(),
        events_per_s: events as f64 / took.as_secs_f64(),
        cpu_s_per_gb: cpu.as_secs_f64() / (megabytes / 1_000.0),
        ratio_to_parse: parse.as_secs_f64() / took.as_secs_f64(),
        limit_mb_per_s: megabytes / parse.as_secs_f64(),
        files: files.len(),
        parquet_mb: files.iter().map(|file| file.data.len()).sum::<usize>() as f64 / 1e6,
        rows_read_back: rows,
        dead_letters_read_back: dead_letters,
    })
}

/// The limit: a parse and nothing else, with the copy that it needs. How many were JSON.
fn parse_all(records: &Records) -> usize {
    let (mut input, mut buffers, mut tape) = (Vec::new(), Buffers::default(), Tape::null());
    let mut parsed = 0;
    for record in records.iter() {
        let mut fresh = tape.reset();
        input.clear();
        input.extend_from_slice(record);
        input.resize(record.len() + simd_json::INPUT_PADDING, 0);
        parsed += usize::from(simd_json::fill_tape_padded(&mut input, record.len(), &mut buffers, &mut fresh).is_ok());
        tape = fresh.reset();
    }
    parsed
}

fn convert(event: Event, records: &Records) -> anyhow::Result<Vec<File>> {
    let log = LogId { app: "bench".to_owned(), topic: event.topic().to_owned(), epoch: 1, partition: 0 };
    let rotation = Rotation { rotate_rows: u64::MAX, file_bytes: 128 << 20, rotate_secs: 3_600 };
    let mut range = OpenRange::new(event, log, Placement::default(), 0, None);
    let (mut decoder, mut files) = (Decoder::new(event), Vec::new());
    let made = Utc::now().timestamp_millis();
    for (offset, record) in (0_i64..).zip(records.iter()) {
        let at = Position { topic: event.topic(), partition: 0, offset, timestamp_ms: Some(made + offset / 1_000) };
        range.read(&mut decoder, Some(Envelope::bare(record)), at, Utc::now)?;
        // As often as the worker looks.
        if offset % 4_096 == 0 && range.is_due(&rotation) {
            files.extend(range.close()?.into_iter().flat_map(|closed| closed.files));
        }
    }
    files.extend(range.close()?.into_iter().flat_map(|closed| closed.files));
    Ok(files)
}

fn rows_of(data: Bytes) -> anyhow::Result<u64> {
    let file = SerializedFileReader::new(data)?;
    Ok(file.get_row_iter(None)?.map(|row| row.map(|_| 1)).sum::<Result<u64, _>>()?)
}
