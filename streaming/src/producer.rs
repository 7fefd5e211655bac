//! `streaming produce`: the shop at work. Idempotent: what a broker acknowledged is in its log once.

use std::time::Duration;

use lake::Event;
use rand::RngExt;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    kafka,
    settings::ProducerOptions,
    shop::{self, Message},
};

/// What was produced.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Produced {
    /// Records, in all topics.
    pub records: u64,
    /// Broken ones among them.
    pub invalid: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// Records between two looks at the clock when there is no rate to keep.
const BURST: u64 = 1_000;

/// Produces until the count is reached or `stop`, then waits until the brokers have everything.
///
/// # Errors
/// The brokers do not answer.
pub async fn run(options: &ProducerOptions, stop: CancellationToken) -> anyhow::Result<Produced> {
    options.check()?;
    kafka::ensure_topics(&options.kafka, options.partitions).await?;
    let producer: ThreadedProducer<DefaultProducerContext> = kafka::config(&options.kafka)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .create()?;
    let mut produced = Produced::default();
    let started = tokio::time::Instant::now();
    let mut round: u64 = 0;
    while !stop.is_cancelled() && options.count.is_none_or(|count| round < count) {
        for event in Event::ALL {
            let is_invalid = options.invalid > 0.0 && rand::rng().random_bool(options.invalid);
            let message = message(event, is_invalid);
            let record = BaseRecord::to(event.topic()).key(&message.key).payload(&message.value);
            send(&producer, record).await?;
            produced.records += 1;
            produced.bytes += message.value.len() as u64;
            produced.invalid += u64::from(is_invalid);
        }
        round += 1;
        if options.rate > 0.0 {
            let next = started + Duration::from_secs_f64(round as f64 / options.rate);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = stop.cancelled() => {}
            }
        } else if round.is_multiple_of(BURST) {
            tokio::task::yield_now().await;
        }
    }
    tokio::task::spawn_blocking(move || producer.flush(kafka::ASK)).await??;
    Ok(produced)
}

fn message(event: Event, is_invalid: bool) -> Message {
    let rng = &mut rand::rng();
    if is_invalid { shop::invalid(event, rng) } else { shop::valid(event, rng) }
}

/// Hands a record to the client, waiting while its queue is full.
///
/// # Errors
/// The client refuses the record.
pub async fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    mut record: BaseRecord<'_, String, Vec<u8>>,
) -> anyhow::Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => record = refused,
            Err((error, _)) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
