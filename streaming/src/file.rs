//! Parquet files: zstd, statistics of pages, what they cover in the footer. They are encoded a row group at a time, so
//! that most of what is held is compressed.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int64Type, SchemaRef},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use lake::Event;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr},
    },
    schema::types::ColumnPath,
};

use crate::rows::OFFSET_COLUMN;

/// An hour, by the number of hours since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Hour(i64);

impl Hour {
    /// The hour of an instant.
    #[must_use]
    pub fn of(instant: DateTime<Utc>) -> Self {
        Self::of_micros(instant.timestamp_micros())
    }

    /// The hour of an instant in microseconds since 1970.
    #[must_use]
    pub fn of_micros(micros: i64) -> Self {
        Self(micros.div_euclid(3_600_000_000))
    }

    /// When it begins.
    #[must_use]
    pub fn start(self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0 * 3_600, 0).unwrap_or_default()
    }
}

/// What a file holds, and of which hour's folder it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileOf {
    /// Rows.
    Rows(Hour),
    /// Records that could not become rows.
    DeadLetters(Hour),
}

/// A file that is finished.
#[derive(Clone, Debug)]
pub struct File {
    /// What it holds.
    pub of: FileOf,
    /// Its contents.
    pub data: Bytes,
    /// Its rows.
    pub rows: u64,
    /// The first offset in it.
    pub first_offset: i64,
    /// The last offset in it.
    pub last_offset: i64,
}

/// A file to which rows are added.
#[derive(Debug)]
pub struct OpenFile {
    of: FileOf,
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
    offsets: Option<(i64, i64)>,
}

impl OpenFile {
    /// An empty file.
    ///
    /// # Errors
    /// Parquet refuses the schema.
    pub fn new(of: FileOf, schema: SchemaRef, properties: &Properties) -> anyhow::Result<Self> {
        let properties = WriterProperties::clone(&properties.0);
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
        Ok(Self { of, writer, rows: 0, offsets: None })
    }

    /// Adds rows, in the order of their offsets, as a row group.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn append(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let offsets = batch.column_by_name(OFFSET_COLUMN).and_then(|column| column.as_primitive_opt::<Int64Type>());
        if let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) {
            let (first, last) = (offsets.value(0), offsets.value(offsets.len() - 1));
            self.offsets = Some((self.offsets.map_or(first, |(first, _)| first), last));
        }
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch)?;
        Ok(self.writer.flush()?)
    }

    /// How many bytes it holds in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.writer.inner().capacity()
    }

    /// How many bytes are written.
    #[must_use]
    pub fn size(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Finishes it.
    ///
    /// # Errors
    /// Parquet refuses.
    pub fn finish(mut self) -> anyhow::Result<File> {
        let (first_offset, last_offset) = self.offsets.unwrap_or_default();
        for (key, value) in [("first_offset", first_offset), ("last_offset", last_offset)] {
            let key = format!("streamcommerce.{key}");
            self.writer.append_key_value_metadata(KeyValue::new(key, value.to_string()));
        }
        let mut data = self.writer.into_inner()?;
        // Half of it may be room to grow, which nobody would count.
        data.shrink_to_fit();
        Ok(File { of: self.of, data: data.into(), rows: self.rows, first_offset, last_offset })
    }
}

/// How files of one schema are encoded.
#[derive(Clone, Debug)]
pub struct Properties(WriterPropertiesPtr);

impl Properties {
    /// For the rows of an event. What never comes twice has no dictionary; what counts up is kept as differences.
    #[must_use]
    pub fn of_rows(event: Event) -> Self {
        let unique = event.fields().iter().filter(|field| field.is_unique).map(|field| field.name);
        let counting = [OFFSET_COLUMN, "kafka_timestamp", event.fields()[event.time_field()].name];
        let mut properties = Self::common();
        for column in unique.chain(counting) {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
        }
        for column in counting {
            properties = properties.set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED);
        }
        Self(Arc::new(properties.build()))
    }

    /// For dead letters.
    #[must_use]
    pub fn of_dead_letters() -> Self {
        Self(Arc::new(Self::common().set_column_dictionary_enabled(ColumnPath::from("value"), false).build()))
    }

    fn common() -> parquet::file::properties::WriterPropertiesBuilder {
        WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Page)
    }
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::{
        decode::Decoder,
        rows::{Position, Rows, schema},
    };

    #[test]
    fn a_file_holds_what_was_added() {
        let now = "2026-11-22T13:00:00Z".parse().unwrap();
        let of = FileOf::Rows(Hour::of(now));
        let mut file = OpenFile::new(of, schema(Event::Traffic), &Properties::of_rows(Event::Traffic)).unwrap();
        let (mut rows, mut decoder) = (Rows::new(Event::Traffic), Decoder::new(Event::Traffic));
        for offset in [5, 6, 9] {
            let json = format!(r#"{{"pageUrl":"/home","visitCount":{offset},"lastVisit":"2026-11-22T12:00:00"}}"#);
            let at = Position { topic: "website_traffic", partition: 1, offset, timestamp_ms: Some(7) };
            decoder.decode(json.as_bytes(), now, |cells| rows.push(cells.unwrap(), at));
            if offset != 5 {
                file.append(&rows.take("website_traffic", 1, now).unwrap()).unwrap();
            }
        }
        let file = file.finish().unwrap();
        assert_eq!((file.rows, file.first_offset, file.last_offset), (3, 5, 9));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.data).unwrap();
        let names: Vec<_> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, Event::Traffic.columns().collect::<Vec<_>>());
        let footer = reader.metadata().file_metadata().key_value_metadata().unwrap();
        let last = footer.iter().find(|entry| entry.key == "streamcommerce.last_offset").unwrap();
        assert_eq!(last.value.as_deref(), Some("9"));
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        let offsets = batch.column_by_name("kafka_offset").unwrap();
        assert_eq!(offsets.as_ref(), &arrow::array::Int64Array::from(vec![5, 6, 9]) as &dyn Array);
        let partitions = batch.column_by_name("kafka_partition").unwrap();
        assert_eq!(partitions.as_ref(), &arrow::array::Int32Array::from(vec![1; 3]) as &dyn Array);
    }

    #[test]
    fn hours_begin_when_they_do() {
        for (instant, start) in
            [("2026-11-22T13:59:59.999999Z", "2026-11-22T13:00:00Z"), ("1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z")]
        {
            assert_eq!(Hour::of(instant.parse().unwrap()).start(), start.parse::<DateTime<Utc>>().unwrap());
        }
    }
}
