//! The Kafka client's settings, and the topics.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use lake::Event;
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use crate::settings::KafkaOptions;

/// How long a question to the brokers may take.
pub const ASK: Duration = Duration::from_secs(30);

/// How long it may take until one look at why they do not answer.
const LOOK: Duration = Duration::from_secs(1);

/// More than brokers say about themselves in that time.
const THINGS_TOLD: usize = 100;

/// What every client of ours is told.
#[must_use]
pub fn config(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &options.bootstrap_servers)
        .set("client.id", "streamcommerce")
        // A broker that restarts is back in a moment.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("security.protocol", options.security.as_str());
    if let Some(ca) = &options.ca {
        config.set("ssl.ca.location", ca.display().to_string());
    }
    if let Some(user) = options.sasl_username.as_ref().filter(|_| options.security.uses_sasl()) {
        config
            .set("sasl.mechanism", options.sasl_mechanism.as_str())
            .set("sasl.username", user)
            .set("sasl.password", options.sasl_password.0.as_deref().unwrap_or_default());
    }
    config
}

/// A client that subscribes to nothing, and whom a broker has answered.
///
/// # Errors
/// No broker answers in time, or none lets us in: with what was heard from them.
pub fn connect(options: &KafkaOptions) -> anyhow::Result<BaseConsumer<Heard>> {
    let client: BaseConsumer<Heard> = config(options).create_with_context(Heard::default())?;
    let deadline = Instant::now() + ASK;
    while let Err(error) = client.fetch_metadata(Some(Event::ALL[0].topic()), LOOK) {
        // Only who polls is told why, one thing at a time.
        (0..THINGS_TOLD).for_each(|_| drop(client.poll(Duration::ZERO)));
        let heard = client.context().0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_final = matches!(heard, Some((RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL, _)));
        if is_final || Instant::now() > deadline {
            let why = heard.map_or_else(|| error.to_string(), |(_, why)| why);
            bail!("no Kafka at {}: {why}", options.bootstrap_servers);
        }
    }
    Ok(client)
}

/// The last that was heard of why brokers do not answer.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Option<(RDKafkaErrorCode, String)>>);

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, why: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        // That all brokers are down says less than why the last of them was.
        if code != RDKafkaErrorCode::AllBrokersDown {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((code, why.to_owned()));
        }
    }
}

impl ConsumerContext for Heard {}

/// Makes the topics that are not there, and waits until the brokers know all of them.
///
/// # Errors
/// The brokers do not answer, or refuse.
pub async fn ensure_topics(options: &KafkaOptions, partitions: i32) -> anyhow::Result<()> {
    connect(options)?;
    let admin: AdminClient<DefaultClientContext> = config(options).create()?;
    let topics: Vec<_> =
        Event::ALL.map(|event| NewTopic::new(event.topic(), partitions, TopicReplication::Fixed(-1))).into();
    let made = admin
        .create_topics(&topics, &AdminOptions::new().request_timeout(Some(ASK)))
        .await
        .with_context(|| format!("no Kafka at {}", options.bootstrap_servers))?;
    for result in made {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => bail!("cannot make the topic {topic}: {code}"),
        }
    }
    // The answer comes before the metadata knows.
    let deadline = tokio::time::Instant::now() + ASK;
    for event in Event::ALL {
        while !is_known(&admin, event)? {
            if tokio::time::Instant::now() > deadline {
                bail!("the topic {} was made, but the brokers do not know it", event.topic());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// The partitions of a topic.
///
/// # Errors
/// The brokers do not answer, or there is no such topic.
pub fn partitions<C: ConsumerContext>(client: &impl Consumer<C>, topic: &str) -> anyhow::Result<Vec<i32>> {
    let metadata = client.fetch_metadata(Some(topic), ASK)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    let found = found.with_context(|| format!("Kafka has no topic {topic}"))?;
    Ok(found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
}

fn is_known(admin: &AdminClient<DefaultClientContext>, event: Event) -> anyhow::Result<bool> {
    let metadata = admin.inner().fetch_metadata(Some(event.topic()), ASK)?;
    Ok(metadata.topics().iter().any(|topic| topic.error().is_none() && !topic.partitions().is_empty()))
}
