//! The streaming programs and a Kafka that speaks encrypted, to those whom it knows.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{path::Path, time::Duration};

use bucket::Bucket;
use lake::Event;
use local::{
    child::{Program, built},
    gcs,
    kafka::{Kafka, Settings},
    ports::{HOST, Ports},
    state::State,
};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const BUCKET: &str = "lake";
const USER: &str = "shop";
const PASSWORD: &str = "correct horse";
const RECORDS_PER_TOPIC: u64 = 500;

/// An authority and a broker's certificate of it: what the broker has, and what its clients have.
fn certificates() -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let broker_key = KeyPair::generate().unwrap();
    let broker = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let broker = broker.signed_by(&broker_key, &Issuer::new(params, key)).unwrap();
    (format!("{}{}", broker_key.serialize_pem(), broker.pem()), authority)
}

fn settings(port: u16, ports: &Ports, keystore: &Path) -> Settings {
    let module = "org.apache.kafka.common.security";
    let secured = "listener.name.secured";
    let lines = [
        format!(
            "listeners=BROKER://{HOST}:{},CONTROLLER://{HOST}:{},SECURED://{HOST}:{port}",
            ports.kafka, ports.kafka_controller
        ),
        format!("advertised.listeners=BROKER://{HOST}:{},SECURED://{HOST}:{port}", ports.kafka),
        "listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL".to_owned(),
        format!("{secured}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
        format!("{secured}.ssl.keystore.type=PEM"),
        format!("{secured}.ssl.keystore.location={}", keystore.display()),
        format!(
            "{secured}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
        ),
        format!("{secured}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;"),
        format!("{secured}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;"),
    ];
    let scram = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
    let scram = scram.map(|mechanism| format!("{mechanism}=[name={USER},password={PASSWORD}]"));
    Settings { properties: lines.join("\n"), scram: scram.into() }
}

/// The settings of a client.
fn client(port: u16, authority: &Path, mechanism: &str, password: &str) -> [(&'static str, String); 6] {
    [
        ("STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS", format!("{HOST}:{port}")),
        ("STREAMCOMMERCE_KAFKA_SECURITY", "SASL_SSL".to_owned()),
        ("STREAMCOMMERCE_KAFKA_CA", authority.display().to_string()),
        ("STREAMCOMMERCE_KAFKA_SASL_MECHANISM", mechanism.to_owned()),
        ("STREAMCOMMERCE_KAFKA_SASL_USERNAME", USER.to_owned()),
        ("STREAMCOMMERCE_KAFKA_SASL_PASSWORD", password.to_owned()),
    ]
}

#[tokio::test]
async fn records_come_through_tls_and_sasl_and_strangers_are_told_why_not() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = checkout.join("target").join(format!("story-secured-{}", std::process::id()));
    let (state, ports, port) = (State::take(&folder).unwrap(), Ports::free().unwrap(), Ports::free().unwrap().kafka);
    let (keystore, authority) = (folder.join("broker.pem"), folder.join("authority.pem"));
    let (broker_pem, authority_pem) = certificates();
    std::fs::write(&keystore, broker_pem).unwrap();
    std::fs::write(&authority, authority_pem).unwrap();
    let (stop, objects) = (CancellationToken::new(), state.folder("gcs").unwrap());
    let serving = {
        let (stop, port) = (stop.clone(), ports.gcs);
        tokio::spawn(async move { gcs::serve(&objects, port, stop).await })
    };
    let kafka = Kafka::start_with(&state, &ports, &settings(port, &ports, &keystore)).await.unwrap();

    let program = |name, mechanism: &str, password: &str, arguments: &[&str]| {
        let bucket = format!("http://{HOST}:{}", ports.gcs);
        let settings = client(port, &authority, mechanism, password).into_iter();
        let settings =
            settings.chain([("STREAMCOMMERCE_BUCKET", BUCKET.to_owned()), ("STREAMCOMMERCE_GCS_ENDPOINT", bucket)]);
        Program::new(name, built("streaming").unwrap(), &state.logs()).args(arguments).envs(settings)
    };
    program("prepare", "PLAIN", PASSWORD, &["prepare"]).complete().await.unwrap();
    let count = RECORDS_PER_TOPIC.to_string();
    let produce = ["produce", "--rate", "0", "--count", &count];
    for (round, mechanism) in (1..).zip(["PLAIN", "scram-sha-256", "scram-sha-512"]) {
        program("produce", mechanism, PASSWORD, &produce).complete().await.unwrap();
        let worker = program("worker", mechanism, PASSWORD, &["worker", "--rotate-secs", "1"]);
        let mut worker = worker.spawn(Signal::SIGTERM).unwrap();
        let all_committed = async || {
            let said = program("status", mechanism, PASSWORD, &["status", "-o", "json"]).output().await.unwrap();
            let partitions: Vec<Value> = serde_json::from_str(&said).unwrap_or_default();
            let committed = partitions.iter().filter_map(|of| of["committed"].as_u64()).sum::<u64>();
            committed == round * RECORDS_PER_TOPIC * Event::ALL.len() as u64
        };
        worker.wait_until(Duration::from_secs(120), all_committed).await.unwrap();
        worker.stop(Duration::from_secs(30)).await;
    }
    // A broker tells it to whom it has let in.
    let endpoint = Some(format!("http://{HOST}:{}", ports.gcs));
    let bucket = Bucket::open(&bucket::Settings { bucket: BUCKET.to_owned(), endpoint }).await.unwrap();
    tests::each_log_knows_the_id_of_its_topic(&bucket).await.unwrap();

    let refused = program("stranger", "scram-sha-512", "s3cr3t", &["prepare"]).complete().await.unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("SASL authentication error"), "{refused}");
    assert!(!refused.contains("s3cr3t"), "the password is told: {refused}");
    std::fs::write(&authority, certificates().1).unwrap();
    let refused = program("distrusting", "plain", PASSWORD, &["prepare"]).complete().await.unwrap_err();
    assert!(format!("{refused:#}").contains("certificate verify failed"), "{refused:#}");

    kafka.stop().await;
    stop.cancel();
    serving.await.unwrap().unwrap();
    std::fs::remove_dir_all(folder).ok();
}
