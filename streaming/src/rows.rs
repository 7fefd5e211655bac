//! Rows that were read and are not encoded yet, of one event, in Arrow builders.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, Float64Builder, Int32Array, Int64Builder, PrimitiveBuilder, RecordBatch,
        StringArray, StringBuilder, TimestampMicrosecondArray, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use chrono::{DateTime, Utc};
use lake::event::{Event, Kind};

use crate::decode::{Cell, Cells};

/// Where a record stood in Kafka.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Kafka's timestamp, in milliseconds; none if the record has none.
    pub timestamp_ms: Option<i64>,
}

/// The rows of one Kafka partition.
#[derive(Debug)]
pub struct Rows {
    event: Event,
    columns: Vec<Column>,
    offsets: Int64Builder,
    timestamps: TimestampMicrosecondBuilder,
    count: usize,
}

#[derive(Debug)]
enum Column {
    Text(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Rows {
    /// No rows yet.
    #[must_use]
    pub fn new(event: Event) -> Self {
        let columns = event.fields().iter().map(|field| Column::new(field.kind)).collect();
        Self { event, columns, offsets: Int64Builder::with_capacity(0), timestamps: micros_builder(), count: 0 }
    }

    /// Adds a row.
    pub fn push(&mut self, cells: &Cells<'_>, at: Position<'_>) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(*cell);
        }
        self.offsets.append_value(at.offset);
        self.timestamps.append_option(at.timestamp_ms.map(|millis| millis.saturating_mul(1_000)));
        self.count += 1;
    }

    /// How many rows there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes the rows, which all carry `ingested`.
    ///
    /// # Errors
    /// Arrow refuses.
    pub fn take(&mut self, topic: &str, partition: i32, ingested: DateTime<Utc>) -> anyhow::Result<RecordBatch> {
        let count = std::mem::take(&mut self.count);
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::take).collect();
        let ingested = TimestampMicrosecondArray::from_value(ingested.timestamp_micros(), count);
        arrays.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(topic, count))));
        arrays.push(Arc::new(Int32Array::from_value(partition, count)));
        arrays.push(take(&mut self.offsets));
        arrays.push(take(&mut self.timestamps));
        arrays.push(Arc::new(ingested.with_data_type(micros())));
        Ok(RecordBatch::try_new(schema(self.event), arrays)?)
    }
}

/// The schema of an event's files.
#[must_use]
pub fn schema(event: Event) -> SchemaRef {
    let mut fields: Vec<_> =
        event.fields().iter().map(|field| Field::new(field.name, data_type(field.kind), true)).collect();
    fields.push(Field::new("kafka_topic", DataType::Utf8, false));
    fields.push(Field::new("kafka_partition", DataType::Int32, false));
    fields.push(Field::new(OFFSET_COLUMN, DataType::Int64, false));
    fields.push(Field::new("kafka_timestamp", micros(), true));
    fields.push(Field::new("ingestion_time", micros(), false));
    Arc::new(Schema::new(fields))
}

/// The column that says where in its Kafka partition a record stood.
pub(crate) const OFFSET_COLUMN: &str = "kafka_offset";

/// Microseconds, UTC: what `BigQuery` reads as TIMESTAMP.
pub(crate) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn micros_builder() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(0).with_data_type(micros())
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text { .. } => DataType::Utf8,
        Kind::Integer { .. } => DataType::Int64,
        Kind::Float { .. } => DataType::Float64,
        Kind::Timestamp => micros(),
    }
}

/// Builders begin empty: most of many open partitions hold few rows.
impl Column {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text { .. } => Self::Text(StringBuilder::with_capacity(0, 0)),
            Kind::Integer { .. } => Self::Integer(Int64Builder::with_capacity(0)),
            Kind::Float { .. } => Self::Float(Float64Builder::with_capacity(0)),
            Kind::Timestamp => Self::Timestamp(micros_builder()),
        }
    }

    /// Decoding gives each field its own kind of cell or none, so anything else here is null.
    fn push(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Self::Text(column), Cell::Text(text)) => column.append_value(text),
            (Self::Integer(column), Cell::Integer(number)) => column.append_value(number),
            (Self::Float(column), Cell::Float(number)) => column.append_value(number),
            (Self::Timestamp(column), Cell::Timestamp(micros)) => column.append_value(micros),
            (Self::Text(column), _) => column.append_null(),
            (Self::Integer(column), _) => column.append_null(),
            (Self::Float(column), _) => column.append_null(),
            (Self::Timestamp(column), _) => column.append_null(),
        }
    }

    /// Takes the values. There will be about as many again: a builder that grows copies what it has.
    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => {
                let texts = column.finish();
                *column = StringBuilder::with_capacity(expected(texts.len()), expected(texts.values().len()));
                Arc::new(texts)
            }
            Self::Integer(column) => take(column),
            Self::Float(column) => take(column),
            Self::Timestamp(column) => take(column),
        }
    }
}

fn take<T: ArrowPrimitiveType>(column: &mut PrimitiveBuilder<T>) -> ArrayRef {
    let values = column.finish();
    let next = PrimitiveBuilder::with_capacity(expected(values.len()));
    *column = next.with_data_type(values.data_type().clone());
    Arc::new(values)
}

/// How much of something may come after so much of it.
fn expected(before: usize) -> usize {
    before + before / 16
}
