//! Kafka's ids of topics. A topic that is deleted and made again under its name has another one.

use anyhow::{Context, ensure};
use kafka_protocol::{
    messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName, metadata_request::MetadataRequestTopic},
    protocol::StrBytes,
};
use uuid::Uuid;

use crate::{broker::Broker, settings::KafkaOptions};

/// The first version of Metadata that may be asked by name and tells ids is 10; every broker since 2.8 knows 12.
const VERSION: i16 = 12;

/// The id of a topic, from the first of the brokers that answers; none if its brokers give no ids: then only the offsets
/// tell that a topic was made anew.
///
/// # Errors
/// No broker answers, none lets us in, or there is no such topic.
pub async fn topic_id(kafka: &KafkaOptions, topic: &str) -> anyhow::Result<Option<Uuid>> {
    let mut last = anyhow::anyhow!("no broker is named");
    for broker in kafka.bootstrap_servers.split(',').map(str::trim).filter(|broker| !broker.is_empty()) {
        match ask(kafka, broker, topic).await {
            Ok(id) => return Ok((!id.is_nil()).then_some(id)),
            Err(error) => last = error.context(format!("the broker {broker} does not tell the id of {topic}")),
        }
    }
    Err(last)
}

async fn ask(kafka: &KafkaOptions, broker: &str, topic: &str) -> anyhow::Result<Uuid> {
    let mut broker = Broker::connect(kafka, broker).await?;
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let topics = vec![MetadataRequestTopic::default().with_name(Some(name))];
    let metadata = MetadataRequest::default().with_topics(Some(topics));
    let answer: MetadataResponse = broker.ask(ApiKey::Metadata, VERSION, &metadata).await?;
    let topic = answer.topics.into_iter().next().context("an answer without a topic")?;
    ensure!(topic.error_code == 0, "error {} of Kafka's protocol", topic.error_code);
    Ok(topic.topic_id)
}
