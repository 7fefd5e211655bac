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
    rows::{File, Position, micros, micros_builder, parquet},
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
    count: u64,
    first_offset: i64,
    last_offset: i64,
}

/// What else a record brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envelope<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(String, Vec<u8>)],
    /// Its value.
    pub value: &'a [u8],
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            topics: StringBuilder::new(),
            partitions: Int32Builder::new(),
            offsets: Int64Builder::new(),
            timestamps: micros_builder(),
            keys: BinaryBuilder::new(),
            headers: StringBuilder::new(),
            values: BinaryBuilder::new(),
            codes: StringBuilder::new(),
            messages: StringBuilder::new(),
            count: 0,
            first_offset: 0,
            last_offset: 0,
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
        self.headers.append_value(headers_json(envelope.headers));
        self.values.append_value(envelope.value);
        self.codes.append_value(broken.code.as_str());
        self.messages.append_value(&broken.message);
        if self.count == 0 {
            self.first_offset = at.offset;
        }
        self.last_offset = at.offset;
        self.count += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Makes the file.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn into_file(mut self) -> anyhow::Result<File> {
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
        let batch = RecordBatch::try_new(Arc::new(schema), arrays)?;
        let data = parquet(&batch, self.first_offset, self.last_offset)?;
        Ok(File { data, rows: self.count, first_offset: self.first_offset, last_offset: self.last_offset })
    }
}

/// Headers as a JSON list of name and value, for they may repeat; bytes that are no text are shown as text would be.
fn headers_json(headers: &[(String, Vec<u8>)]) -> String {
    let headers: Vec<_> = headers.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)])).collect();
    json!(headers).to_string()
}
