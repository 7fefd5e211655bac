//! `streaming dlq`: what could not become rows, a look inside, and a second chance.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use bucket::{Bucket, Error};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use lake::{Committed, Event};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use serde::Serialize;

use super::log;
use crate::{kafka, settings::KafkaOptions};

/// A record that could not become a row.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Kafka's timestamp.
    pub timestamp: Option<DateTime<Utc>>,
    /// What is wrong: a code for programs.
    pub code: String,
    /// ... and a message for people.
    pub message: String,
    /// Its headers, names and values.
    pub headers: Vec<(String, String)>,
    /// Its key.
    #[serde(serialize_with = "as_text")]
    pub key: Option<Vec<u8>>,
    /// Its value.
    #[serde(serialize_with = "as_text")]
    pub value: Option<Vec<u8>>,
}

fn as_text<S: serde::Serializer>(bytes: &Option<Vec<u8>>, out: S) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(String::from_utf8_lossy).serialize(out)
}

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this event; without it, of all.
    pub event: Option<Event>,
    /// With this code.
    pub code: Option<String>,
    /// Read since.
    pub since: Option<DateTime<Utc>>,
    /// At this place: partition and offset.
    pub at: Option<(i32, i64)>,
}

impl Wanted {
    fn takes(&self, letter: &DeadLetter) -> bool {
        self.code.as_ref().is_none_or(|code| *code == letter.code)
            && self.at.is_none_or(|at| at == (letter.partition, letter.offset))
    }

    fn takes_file(&self, file: &Committed, ingested: DateTime<Utc>) -> bool {
        self.at.is_none_or(|(_, offset)| (file.first_offset..=file.last_offset).contains(&offset))
            && self.since.is_none_or(|since| ingested >= since)
    }
}

/// The dead letters of some ranges, by topic and code.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Their topic.
    pub topic: String,
    /// What is wrong.
    pub code: String,
    /// How many.
    pub count: u64,
    /// One of them, to look at: partition and offset.
    pub example: (i32, i64),
    /// What is wrong with that one.
    pub message: String,
}

/// Counts dead letters by topic and code.
///
/// # Errors
/// The bucket cannot be reached.
pub async fn list(bucket: &Bucket, app: &str, epoch: u32, wanted: &Wanted) -> anyhow::Result<Vec<Summary>> {
    let mut found: BTreeMap<(String, String), Summary> = BTreeMap::new();
    for file in files(bucket, app, epoch, wanted).await? {
        for letter in letters(bucket, &file, wanted).await? {
            let new = || Summary {
                topic: letter.topic.clone(),
                code: letter.code.clone(),
                count: 0,
                example: (letter.partition, letter.offset),
                message: letter.message.clone(),
            };
            found.entry((letter.topic.clone(), letter.code.clone())).or_insert_with(new).count += 1;
        }
    }
    Ok(found.into_values().collect())
}

/// Reads dead letters, at most so many.
///
/// # Errors
/// The bucket cannot be reached.
pub async fn show(
    bucket: &Bucket,
    app: &str,
    epoch: u32,
    wanted: &Wanted,
    limit: usize,
) -> anyhow::Result<Vec<DeadLetter>> {
    let mut found = Vec::new();
    for file in files(bucket, app, epoch, wanted).await? {
        found.extend(letters(bucket, &file, wanted).await?);
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// The header that says where a replayed record stood first: its identity, also when it fails again.
pub const REPLAY_OF: &str = "streamcommerce-replay-of";

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Replayed {
    /// Records that were produced anew.
    pub records: u64,
    /// Files that had been replayed before, and were left alone.
    pub files_left: u64,
}

/// Produces dead letters anew, with their keys, headers and timestamps, and where they stood first. A file is replayed
/// once: which ones were is kept in the bucket, before the first record is produced.
///
/// # Errors
/// The bucket or Kafka cannot be reached. What was produced until then stays.
pub async fn replay(
    bucket: &Bucket,
    kafka: &KafkaOptions,
    app: &str,
    epoch: u32,
    wanted: &Wanted,
) -> anyhow::Result<Replayed> {
    if wanted.at.is_some() || wanted.code.is_some() {
        bail!("a replay takes whole files: of a topic (--topic), or since an instant (--since)");
    }
    // Before anything is marked as replayed.
    kafka::connect(kafka)?;
    let mut config: ClientConfig = kafka::config(kafka);
    let producer: FutureProducer = config.set("enable.idempotence", "true").create()?;
    let mut replayed = Replayed::default();
    for file in files(bucket, app, epoch, wanted).await? {
        let letters = letters(bucket, &file, wanted).await?;
        let mark = format!("_replays/{app}/{}.json", file.published);
        match bucket.create(&mark, Bytes::from(serde_json::to_vec(&Utc::now())?)).await {
            Ok(_) => {}
            Err(Error::Precondition { .. }) => {
                replayed.files_left += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let sent: futures::stream::FuturesUnordered<_> = letters.iter().map(|letter| send(&producer, letter)).collect();
        let sent: Vec<()> = sent.try_collect().await.with_context(|| {
            format!("of {} not all was replayed; delete {mark} to replay all of it again", file.published)
        })?;
        replayed.records += sent.len() as u64;
    }
    Ok(replayed)
}

async fn send(producer: &FutureProducer, letter: &DeadLetter) -> anyhow::Result<()> {
    let origin = format!("{}/{}/{}", letter.topic, letter.partition, letter.offset);
    // The first place stays when it is replayed once more.
    let first = letter.headers.iter().find(|(name, _)| name == REPLAY_OF).map_or(&origin, |(_, first)| first);
    let others = letter.headers.iter().filter(|(name, _)| name != REPLAY_OF);
    let headers =
        others.fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
    let headers = headers.insert(Header { key: REPLAY_OF, value: Some(first) });
    let mut record =
        FutureRecord::to(&letter.topic).headers(headers).payload(letter.value.as_deref().unwrap_or_default());
    record.key = letter.key.as_deref();
    record.timestamp = letter.timestamp.map(|at| at.timestamp_millis());
    producer.send(record, kafka::ASK).await.map_err(|(error, _)| error)?;
    Ok(())
}

/// The files with dead letters that are wanted.
async fn files(bucket: &Bucket, app: &str, epoch: u32, wanted: &Wanted) -> anyhow::Result<Vec<Committed>> {
    let mut found = Vec::new();
    for event in Event::ALL.into_iter().filter(|event| wanted.event.is_none_or(|wanted| wanted == *event)) {
        for log in log::of_topic(bucket, app, event, epoch).await? {
            if wanted.at.is_some_and(|(partition, _)| partition != log.id.partition) {
                continue;
            }
            for manifest in log.manifests {
                let ingested = manifest.ingestion_time;
                found.extend(manifest.dead_letters.into_iter().filter(|file| wanted.takes_file(file, ingested)));
            }
        }
    }
    Ok(found)
}

/// Those of a file that are wanted. One file at a time: there may be more of them than memory.
async fn letters(bucket: &Bucket, file: &Committed, wanted: &Wanted) -> anyhow::Result<Vec<DeadLetter>> {
    let data = bucket.read(&file.published).await?;
    let data = data.with_context(|| format!("{} is not published yet", file.published))?;
    let letters = read(data).with_context(|| format!("{} cannot be read", file.published))?;
    Ok(letters.into_iter().filter(|letter| wanted.takes(letter)).collect())
}

fn read(data: Bytes) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(data)?.build()? {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            letters.push(letter(&batch, row)?);
        }
    }
    Ok(letters)
}

fn letter(batch: &RecordBatch, row: usize) -> anyhow::Result<DeadLetter> {
    let column = |name| batch.column_by_name(name).with_context(|| format!("there is no column {name}"));
    let text = |name| anyhow::Ok(column(name)?.as_string::<i32>().value(row).to_owned());
    let bytes = |name| {
        let column = column(name)?.as_binary::<i32>();
        anyhow::Ok((!column.is_null(row)).then(|| column.value(row).to_vec()))
    };
    let timestamps = column("kafka_timestamp")?.as_primitive::<TimestampMicrosecondType>();
    Ok(DeadLetter {
        topic: text("kafka_topic")?,
        partition: column("kafka_partition")?.as_primitive::<Int32Type>().value(row),
        offset: column("kafka_offset")?.as_primitive::<Int64Type>().value(row),
        timestamp: (!timestamps.is_null(row)).then(|| timestamps.value(row)).and_then(DateTime::from_timestamp_micros),
        code: text("code")?,
        message: text("message")?,
        headers: serde_json::from_str(&text("headers")?)?,
        key: bytes("key")?,
        value: bytes("value")?,
    })
}
