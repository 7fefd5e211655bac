//! Kafka's ids of topics. A topic that is deleted and made again under its name has another one. rdkafka's safe interface
//! cannot ask for it, so one request of Kafka's own protocol does.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName,
        metadata_request::MetadataRequestTopic,
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::settings::{KafkaOptions, Security};

/// The first version of Metadata that may be asked by name and tells ids is 10; every broker since 2.8 knows 12.
const VERSION: i16 = 12;

/// How long one broker may take.
const ASK: Duration = Duration::from_secs(10);

/// More than the metadata of one topic ever is.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The id of a topic, from the first of the brokers that answers; none if they do not speak to just anybody: then only
/// the offsets tell that a topic was made anew.
///
/// # Errors
/// No broker answers, or there is no such topic.
pub async fn topic_id(kafka: &KafkaOptions, topic: &str) -> anyhow::Result<Option<Uuid>> {
    if kafka.security != Security::Plaintext {
        return Ok(None);
    }
    let mut last = anyhow::anyhow!("no broker is named");
    for broker in kafka.bootstrap_servers.split(',').map(str::trim).filter(|broker| !broker.is_empty()) {
        let asked = tokio::time::timeout(ASK, ask(broker, topic)).await;
        match asked.map_err(anyhow::Error::from).flatten() {
            Ok(id) => return Ok(Some(id)),
            Err(error) => last = error.context(format!("the broker {broker} does not tell the id of {topic}")),
        }
    }
    Err(last)
}

async fn ask(broker: &str, topic: &str) -> anyhow::Result<Uuid> {
    let mut stream = TcpStream::connect(broker).await?;
    stream.write_all(&request(topic)?).await?;
    let length = usize::try_from(stream.read_i32().await?)?;
    ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, ApiKey::Metadata.response_header_version(VERSION))?;
    let metadata = MetadataResponse::decode(&mut answer, VERSION)?;
    let topic = metadata.topics.into_iter().next().context("an answer without a topic")?;
    ensure!(topic.error_code == 0, "error {} of Kafka's protocol", topic.error_code);
    Ok(topic.topic_id)
}

fn request(topic: &str) -> anyhow::Result<Bytes> {
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(VERSION)
        .with_correlation_id(1)
        .with_client_id(Some(StrBytes::from_static_str("streamcommerce")));
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let topics = vec![MetadataRequestTopic::default().with_name(Some(name))];
    let metadata = MetadataRequest::default().with_topics(Some(topics));
    let mut body = BytesMut::new();
    header.encode(&mut body, ApiKey::Metadata.request_header_version(VERSION))?;
    metadata.encode(&mut body, VERSION)?;
    let mut request = BytesMut::new();
    request.put_i32(i32::try_from(body.len())?);
    request.extend_from_slice(&body);
    Ok(request.freeze())
}
