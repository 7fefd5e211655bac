//! Records that could not become rows: whole, with where they stood and why.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema},
};
use serde_json::json;

use crate::{
    decode::Broken,
    file::{File, FileOf, Hour, OpenFile, Properties},
    rows::{Position, micros, micros_builder},
};

/// The dead letters of one file.
#[derive(Debug)]
pub struct DeadLetters {
    topics: StringBuilder,
    partitions: Int32Builder,
    offsets: Int64Builder,
    timestamps: TimestampMicrosecondBuilder,
    keys: BinaryBuilder,
    headers: StringBuilder,
    values: BinaryBuilder,
    codes: StringBuilder,
    messages: StringBuilder,
    bytes: usize,
}

/// What a record brought.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its headers. Asked for only if it is a dead letter: most have none, and to look costs.
    pub headers: &'a dyn Fn() -> Vec<(String, Vec<u8>)>,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// A value alone.
    #[must_use]
    pub fn bare(value: &'a [u8]) -> Self {
        Self { key: None, headers: &Vec::new, value }
    }
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            topics: StringBuilder::with_capacity(0, 0),
            partitions: Int32Builder::with_capacity(0),
            offsets: Int64Builder::with_capacity(0),
            timestamps: micros_builder(),
            keys: BinaryBuilder::with_capacity(0, 0),
            headers: StringBuilder::with_capacity(0, 0),
            values: BinaryBuilder::with_capacity(0, 0),
            codes: StringBuilder::with_capacity(0, 0),
            messages: StringBuilder::with_capacity(0, 0),
            bytes: 0,
        }
    }
}

impl DeadLetters {
    /// Adds a record.
    pub fn push(&mut self, envelope: Envelope<'_>, at: Position<'_>, broken: &Broken) {
        self.topics.append_value(at.topic);
        self.partitions.append_value(at.partition);
        self.offsets.append_value(at.offset);
        self.timestamps.append_option(at.timestamp_ms.map(|millis| millis.saturating_mul(1_000)));
        self.keys.append_option(envelope.key);
        self.headers.append_value(headers_json(&(envelope.headers)()));
        self.values.append_value(envelope.value);
        self.codes.append_value(broken.code.as_str());
        self.messages.append_value(&broken.message);
        self.bytes += envelope.value.len() + envelope.key.map_or(0, <[u8]>::len) + broken.message.len() + OVERHEAD;
    }

    /// About how many bytes they hold in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes
    }

    /// Makes the file, if there are any.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn into_file(mut self, hour: Hour) -> anyhow::Result<Option<File>> {
        if self.bytes == 0 {
            return Ok(None);
        }
        let schema = Schema::new(vec![
            Field::new("kafka_topic", DataType::Utf8, false),
            Field::new("kafka_partition", DataType::Int32, false),
            Field::new("kafka_offset", DataType::Int64, false),
            Field::new("kafka_timestamp", micros(), true),
            Field::new("key", DataType::Binary, true),
            Field::new("headers", DataType::Utf8, false),
            Field::new("value", DataType::Binary, false),
            Field::new("code", DataType::Utf8, false),
            Field::new("message", DataType::Utf8, false),
        ]);
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.topics.finish()),
            Arc::new(self.partitions.finish()),
            Arc::new(self.offsets.finish()),
            Arc::new(self.timestamps.finish()),
            Arc::new(self.keys.finish()),
            Arc::new(self.headers.finish()),
            Arc::new(self.values.finish()),
            Arc::new(self.codes.finish()),
            Arc::new(self.messages.finish()),
        ];
        let schema = Arc::new(schema);
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
        let mut file = OpenFile::new(FileOf::DeadLetters(hour), schema, &Properties::of_dead_letters())?;
        file.append(&batch)?;
        file.finish().map(Some)
    }
}

/// What a dead letter holds besides its bytes: its place, its code, its headers.
const OVERHEAD: usize = 128;

/// Headers as a JSON list of name and value, for they may repeat; bytes that are no text are shown as text would be.
fn headers_json(headers: &[(String, Vec<u8>)]) -> String {
    let headers: Vec<_> = headers.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)])).collect();
    json!(headers).to_string()
}
