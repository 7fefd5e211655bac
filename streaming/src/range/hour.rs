//! The rows of one hour: those that wait, and the file of those that are encoded.
//!
//! A row group is encoded at once. A Parquet writer with an open row group holds a dictionary and a compressor for each
//! column, ten megabytes in all, and there may be thousands of open hours.

use chrono::{DateTime, Utc};
use lake::{Event, layout::LogId};

use crate::{
    decode::Cells,
    file::{File, FileOf, Hour, OpenFile, Properties},
    rows::{Position, Rows, schema},
};

/// A row group has so many rows ...
const GROUP_ROWS: usize = 131_072;

/// ... or comes from so many bytes of records.
const GROUP_BYTES: usize = 32 << 20;

/// What a row holds besides the bytes of its record: where it stood.
const ROW_OVERHEAD: usize = 32;

/// What all hours of a range have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) event: Event,
    pub(super) log: LogId,
    pub(super) properties: Properties,
}

#[derive(Debug)]
pub(super) struct OpenHour {
    hour: Hour,
    rows: Rows,
    pending: usize,
    file: Option<OpenFile>,
}

impl OpenHour {
    pub(super) fn new(event: Event, hour: Hour) -> Self {
        Self { hour, rows: Rows::new(event), pending: 0, file: None }
    }

    /// Adds a row that came from so many bytes; how many more bytes it holds now.
    pub(super) fn push(&mut self, cells: &Cells<'_>, at: Position<'_>, bytes: usize) -> usize {
        self.rows.push(cells, at);
        self.pending += bytes + ROW_OVERHEAD;
        bytes + ROW_OVERHEAD
    }

    /// Whether the rows that wait are a row group.
    pub(super) fn is_group(&self) -> bool {
        self.rows.count() >= GROUP_ROWS || self.pending >= GROUP_BYTES
    }

    /// About how many bytes wait to be encoded.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// About how many bytes it holds in memory.
    pub(super) fn held(&self) -> usize {
        self.pending + self.file.as_ref().map_or(0, OpenFile::held)
    }

    /// How many bytes of the file are written.
    pub(super) fn written(&self) -> usize {
        self.file.as_ref().map_or(0, OpenFile::size)
    }

    /// Encodes the rows that wait. All carry `ingested`.
    pub(super) fn encode(&mut self, common: &Common, ingested: DateTime<Utc>) -> anyhow::Result<()> {
        if self.rows.count() == 0 {
            return Ok(());
        }
        let batch = self.rows.take(&common.log.topic, common.log.partition, ingested)?;
        self.pending = 0;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenFile::new(FileOf::Rows(self.hour), schema(common.event), &common.properties)?),
        };
        file.append(&batch)
    }

    /// The whole file.
    pub(super) fn finish(mut self, common: &Common, ingested: DateTime<Utc>) -> anyhow::Result<Option<File>> {
        self.encode(common, ingested)?;
        self.file.map(OpenFile::finish).transpose()
    }
}
