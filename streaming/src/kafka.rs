//! The Kafka client's settings, and the topics.

use std::time::Duration;

use anyhow::{Context, bail};
use lake::Event;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    types::RDKafkaErrorCode,
};

use crate::settings::KafkaOptions;

/// How long a question to the brokers may take.
pub const ASK: Duration = Duration::from_secs(30);

/// What every client of ours is told.
#[must_use]
pub fn config(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &options.bootstrap_servers)
        .set("client.id", "streamcommerce")
        // A broker that restarts is back in a moment.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000");
    config
}

/// Makes the topics that are not there, and waits until the brokers know all of them.
///
/// # Errors
/// The brokers do not answer, or refuse.
pub async fn ensure_topics(options: &KafkaOptions, partitions: i32) -> anyhow::Result<()> {
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

fn is_known(admin: &AdminClient<DefaultClientContext>, event: Event) -> anyhow::Result<bool> {
    let metadata = admin.inner().fetch_metadata(Some(event.topic()), ASK)?;
    Ok(metadata.topics().iter().any(|topic| topic.error().is_none() && !topic.partitions().is_empty()))
}
