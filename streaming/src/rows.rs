//! Rows of one event, in Arrow builders, and the Parquet file that they become.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use lake::event::{Event, Kind};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};

use crate::decode::Cell;

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

/// The rows of one file.
#[derive(Debug)]
pub struct Rows {
    event: Event,
    columns: Vec<Column>,
    topics: StringBuilder,
    partitions: Int32Builder,
    offsets: Int64Builder,
    timestamps: TimestampMicrosecondBuilder,
    count: u64,
    first_offset: i64,
    last_offset: i64,
}

#[derive(Debug)]
enum Column {
    Text(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// A file that is finished.
#[derive(Clone, Debug)]
pub struct File {
    /// Its contents.
    pub data: Bytes,
    /// Its rows.
    pub rows: u64,
    /// The first offset in it.
    pub first_offset: i64,
    /// The last offset in it.
    pub last_offset: i64,
}

impl Rows {
    /// No rows yet.
    #[must_use]
    pub fn new(event: Event) -> Self {
        let columns = event.fields().iter().map(|field| Column::new(field.kind)).collect();
        Self {
            event,
            columns,
            topics: StringBuilder::new(),
            partitions: Int32Builder::new(),
            offsets: Int64Builder::new(),
            timestamps: micros_builder(),
            count: 0,
            first_offset: 0,
            last_offset: 0,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, cells: Vec<Cell>, at: Position<'_>) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.topics.append_value(at.topic);
        self.partitions.append_value(at.partition);
        self.offsets.append_value(at.offset);
        self.timestamps.append_option(at.timestamp_ms.map(|millis| millis.saturating_mul(1_000)));
        if self.count == 0 {
            self.first_offset = at.offset;
        }
        self.last_offset = at.offset;
        self.count += 1;
    }

    /// How many rows there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Makes the file; every row carries `ingestion_time`.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn into_file(mut self, ingestion_time: DateTime<Utc>) -> anyhow::Result<File> {
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        let mut ingested = micros_builder();
        ingested.append_value_n(ingestion_time.timestamp_micros(), usize::try_from(self.count)?);
        arrays.push(Arc::new(self.topics.finish()));
        arrays.push(Arc::new(self.partitions.finish()));
        arrays.push(Arc::new(self.offsets.finish()));
        arrays.push(Arc::new(self.timestamps.finish()));
        arrays.push(Arc::new(ingested.finish()));
        let batch = RecordBatch::try_new(schema(self.event), arrays)?;
        let data = parquet(&batch, self.first_offset, self.last_offset)?;
        Ok(File { data, rows: self.count, first_offset: self.first_offset, last_offset: self.last_offset })
    }
}

/// The schema of an event's files.
#[must_use]
pub fn schema(event: Event) -> SchemaRef {
    let mut fields: Vec<_> =
        event.fields().iter().map(|field| Field::new(field.name, data_type(field.kind), true)).collect();
    fields.push(Field::new("kafka_topic", DataType::Utf8, false));
    fields.push(Field::new("kafka_partition", DataType::Int32, false));
    fields.push(Field::new("kafka_offset", DataType::Int64, false));
    fields.push(Field::new("kafka_timestamp", micros(), true));
    fields.push(Field::new("ingestion_time", micros(), false));
    Arc::new(Schema::new(fields))
}

/// Writes a batch as one Parquet file: zstd, page statistics, and the offsets in the footer.
///
/// # Errors
/// Parquet refuses.
pub(crate) fn parquet(batch: &RecordBatch, first_offset: i64, last_offset: i64) -> anyhow::Result<Bytes> {
    let footer = [("first_offset", first_offset), ("last_offset", last_offset)];
    let footer = footer.map(|(key, offset)| KeyValue::new(format!("streamcommerce.{key}"), offset.to_string()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(footer.into()))
        .build();
    let mut data = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut data, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(data.into())
}

/// Microseconds, UTC: what `BigQuery` reads as TIMESTAMP.
pub(crate) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn micros_builder() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_data_type(micros())
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text { .. } => DataType::Utf8,
        Kind::Integer { .. } => DataType::Int64,
        Kind::Float { .. } => DataType::Float64,
        Kind::Timestamp => micros(),
    }
}

impl Column {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text { .. } => Self::Text(StringBuilder::new()),
            Kind::Integer { .. } => Self::Integer(Int64Builder::new()),
            Kind::Float { .. } => Self::Float(Float64Builder::new()),
            Kind::Timestamp => Self::Timestamp(micros_builder()),
        }
    }

    /// Decoding gives each field its own kind of cell or none, so anything else here is null.
    fn push(&mut self, cell: Cell) {
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

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Integer(column) => Arc::new(column.finish()),
            Self::Float(column) => Arc::new(column.finish()),
            Self::Timestamp(column) => Arc::new(column.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::decode::decode;

    #[test]
    fn a_file_holds_what_was_pushed() {
        let now = "2026-11-22T13:00:00Z".parse().unwrap();
        let mut rows = Rows::new(Event::Traffic);
        for offset in [5, 6, 9] {
            let json = format!(r#"{{"pageUrl":"/home","visitCount":{offset},"lastVisit":"2026-11-22T12:00:00"}}"#);
            let at = Position { topic: "website_traffic", partition: 1, offset, timestamp_ms: Some(7) };
            rows.push(decode(Event::Traffic, json.as_bytes(), now).unwrap(), at);
        }
        let file = rows.into_file(now).unwrap();
        assert_eq!((file.rows, file.first_offset, file.last_offset), (3, 5, 9));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.data).unwrap();
        let names: Vec<_> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, Event::Traffic.columns().collect::<Vec<_>>());
        let batch = reader.build().unwrap().next().unwrap().unwrap();
        assert_eq!(batch.num_rows(), 3);
        let offsets = batch.column_by_name("kafka_offset").unwrap();
        assert_eq!(offsets.as_ref(), &arrow::array::Int64Array::from(vec![5, 6, 9]) as &dyn arrow::array::Array);
    }
}
