//! A connection to a broker for what rdkafka's safe interface cannot ask: Kafka's own protocol, one question at a time,
//! encrypted and signed in as the settings say.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, RequestHeader, ResponseHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
        SaslHandshakeResponse,
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use rsasl::prelude::{Mechname, SASLClient, SASLConfig};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::settings::KafkaOptions;

/// How long a broker may take to let us in, or to answer.
const ASK: Duration = Duration::from_secs(10);

/// More than any answer to what is asked here.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// `SaslHandshake` 1: what is said to sign in comes in requests of the protocol. Every broker since 1.0.
const HANDSHAKE: i16 = 1;

/// Every broker since 2.5.
const AUTHENTICATE: i16 = 2;

/// A broker that has let us in.
pub(crate) struct Broker {
    stream: Box<dyn Stream>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Broker {
    /// Connects to `address` (a host and a port), and signs in where that is asked for.
    ///
    /// # Errors
    /// The broker is away, does not prove who it is, or does not let us in.
    pub(crate) async fn connect(options: &KafkaOptions, address: &str) -> anyhow::Result<Self> {
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            let stream: Box<dyn Stream> = match options.security.is_encrypted() {
                true => Box::new(encrypt(options, address, stream).await?),
                false => Box::new(stream),
            };
            let mut broker = Self { stream };
            if options.security.uses_sasl() {
                broker.sign_in(options).await.context("cannot sign in")?;
            }
            anyhow::Ok(broker)
        };
        tokio::time::timeout(ASK, connecting).await?
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The broker does not answer in time, or not as the protocol says.
    pub(crate) async fn ask<A: Decodable>(
        &mut self,
        key: ApiKey,
        version: i16,
        question: &impl Encodable,
    ) -> anyhow::Result<A> {
        let request = request(key, version, question)?;
        let mut answer = tokio::time::timeout(ASK, self.exchange(&request)).await??;
        ResponseHeader::decode(&mut answer, key.response_header_version(version))?;
        A::decode(&mut answer, version)
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Bytes> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let length = usize::try_from(self.stream.read_i32().await?)?;
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        Ok(answer.into())
    }

    /// KIP-43, KIP-152: the mechanism, then whatever it has to say.
    async fn sign_in(&mut self, options: &KafkaOptions) -> anyhow::Result<()> {
        let name = options.sasl_mechanism.as_str();
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name));
        let taken: SaslHandshakeResponse = self.ask(ApiKey::SaslHandshake, HANDSHAKE, &handshake).await?;
        ensure!(taken.error_code == 0, "the broker takes {:?}, not {name}", taken.mechanisms);
        let (user, password) = (options.sasl_username.clone(), options.sasl_password.0.clone());
        let config = SASLConfig::with_credentials(None, user.unwrap_or_default(), password.unwrap_or_default())?;
        let mut session = SASLClient::new(config).start_suggested(&[Mechname::parse(name.as_bytes())?])?;
        let mut heard: Option<Bytes> = None;
        loop {
            let mut said = Vec::new();
            let state = session.step(heard.as_deref(), &mut said)?;
            if state.has_sent_message() {
                heard = Some(self.authenticate(said).await?);
            }
            if state.is_finished() {
                return Ok(());
            }
        }
    }

    async fn authenticate(&mut self, said: Vec<u8>) -> anyhow::Result<Bytes> {
        let said = SaslAuthenticateRequest::default().with_auth_bytes(said.into());
        let heard: SaslAuthenticateResponse = self.ask(ApiKey::SaslAuthenticate, AUTHENTICATE, &said).await?;
        match heard.error_code {
            0 => Ok(heard.auth_bytes),
            code => bail!("{} (error {code} of Kafka's protocol)", heard.error_message.as_deref().unwrap_or("refused")),
        }
    }
}

async fn encrypt(options: &KafkaOptions, address: &str, stream: TcpStream) -> anyhow::Result<impl Stream + use<>> {
    let config = ClientConfig::builder().with_root_certificates(authorities(options)?).with_no_client_auth();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// Whom to believe who a broker is: those of the settings, or those of this machine.
fn authorities(options: &KafkaOptions) -> anyhow::Result<RootCertStore> {
    let mut authorities = RootCertStore::empty();
    match &options.ca {
        Some(file) => {
            let unfit = || format!("no certificates of authorities in {}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).with_context(unfit)? {
                authorities.add(certificate.with_context(unfit)?).with_context(unfit)?;
            }
        }
        None => {
            authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(authorities)
}

fn request(key: ApiKey, version: i16, question: &impl Encodable) -> anyhow::Result<Bytes> {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("streamcommerce")));
    let mut body = BytesMut::new();
    header.encode(&mut body, key.request_header_version(version))?;
    question.encode(&mut body, version)?;
    let mut request = BytesMut::new();
    request.put_i32(i32::try_from(body.len())?);
    request.extend_from_slice(&body);
    Ok(request.freeze())
}
