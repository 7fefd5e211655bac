//! The streaming programs and a Kafka that speaks encrypted, to those whom it knows.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

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
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
};
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

/// How a client comes to Kafka.
#[derive(Clone, Copy)]
struct Way {
    security: &'static str,
    mechanism: Option<&'static str>,
    /// Whether it is told whom it may trust, or knows it by the machine.
    names_authority: bool,
}

const WAYS: [Way; 5] = [
    Way { security: "SASL_SSL", mechanism: Some("PLAIN"), names_authority: true },
    Way { security: "SASL_SSL", mechanism: Some("scram-sha-256"), names_authority: true },
    Way { security: "SASL_SSL", mechanism: Some("scram-sha-512"), names_authority: false },
    Way { security: "SSL", mechanism: None, names_authority: true },
    Way { security: "SASL_PLAINTEXT", mechanism: Some("SCRAM-SHA-512"), names_authority: false },
];

/// A Kafka with a port for each kind of security.
struct Secured {
    folder: PathBuf,
    state: State,
    ports: Ports,
    secured: Vec<(&'static str, u16)>,
}

impl Secured {
    fn new(folder: PathBuf) -> Self {
        let secured = ["SASL_SSL", "SSL", "SASL_PLAINTEXT"].map(|security| (security, Ports::free().unwrap().kafka));
        let (broker, authority) = certificates();
        let state = State::take(&folder).unwrap();
        let secured = Self { folder, state, ports: Ports::free().unwrap(), secured: secured.into() };
        std::fs::write(secured.keystore(), broker).unwrap();
        std::fs::write(secured.authority(), authority).unwrap();
        secured
    }

    fn keystore(&self) -> PathBuf {
        self.folder.join("broker.pem")
    }

    fn authority(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    fn settings(&self) -> Settings {
        let module = "org.apache.kafka.common.security";
        let (kafka, controller) = (self.ports.kafka, self.ports.kafka_controller);
        let of_each = |words: &dyn Fn(&str, u16) -> String| {
            self.secured.iter().map(|(security, port)| words(security, *port)).collect::<Vec<_>>().join(",")
        };
        let listeners = of_each(&|security, port| format!("{security}://{HOST}:{port}"));
        let protocols = of_each(&|security, _| format!("{security}:{security}"));
        let mut lines = vec![
            format!("listeners=BROKER://{HOST}:{kafka},CONTROLLER://{HOST}:{controller},{listeners}"),
            format!("advertised.listeners=BROKER://{HOST}:{kafka},{listeners}"),
            format!("listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,{protocols}"),
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", self.keystore().display()),
        ];
        for of in ["sasl_ssl", "sasl_plaintext"].map(|security| format!("listener.name.{security}")) {
            let plain = format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
            lines.push(format!("{of}.plain.sasl.jaas.config={plain}"));
            for scram in ["256", "512"] {
                lines
                    .push(format!("{of}.scram-sha-{scram}.sasl.jaas.config={module}.scram.ScramLoginModule required;"));
            }
        }
        let scram = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
        let scram = scram.map(|mechanism| format!("{mechanism}=[name={USER},password={PASSWORD}]"));
        Settings { properties: lines.join("\n"), scram: scram.into() }
    }

    /// The settings of a client.
    fn client(&self, way: Way, password: &str) -> Vec<(&'static str, String)> {
        let (_, port) = self.secured.iter().find(|(security, _)| *security == way.security).unwrap();
        let authority = if way.names_authority { "STREAMCOMMERCE_KAFKA_CA" } else { "SSL_CERT_FILE" };
        let mut settings = vec![
            ("STREAMCOMMERCE_BUCKET", BUCKET.to_owned()),
            ("STREAMCOMMERCE_GCS_ENDPOINT", self.bucket()),
            ("STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS", format!("{HOST}:{port}")),
            ("STREAMCOMMERCE_KAFKA_SECURITY", way.security.to_owned()),
            (authority, self.authority().display().to_string()),
        ];
        if let Some(mechanism) = way.mechanism {
            settings.extend([
                ("STREAMCOMMERCE_KAFKA_SASL_MECHANISM", mechanism.to_owned()),
                ("STREAMCOMMERCE_KAFKA_SASL_USERNAME", USER.to_owned()),
                ("STREAMCOMMERCE_KAFKA_SASL_PASSWORD", password.to_owned()),
            ]);
        }
        settings
    }

    fn bucket(&self) -> String {
        format!("http://{HOST}:{}", self.ports.gcs)
    }

    fn program(&self, name: &'static str, way: Way, password: &str, arguments: &[&str]) -> Program {
        let program = Program::new(name, built("streaming").unwrap(), &self.state.logs());
        program.args(arguments).envs(self.client(way, password))
    }

    /// Produces records, and has a worker commit all that were produced so far. It asks for the ids of its topics, which logs of its own
    /// begin with.
    async fn comes_through(&self, round: u64, way: Way) {
        let (app, count) = (format!("app{round}"), RECORDS_PER_TOPIC.to_string());
        let produce = self.program("produce", way, PASSWORD, &["produce", "--rate", "0", "--count", &count]);
        produce.complete().await.unwrap();
        let worker = self.program("worker", way, PASSWORD, &["worker", "--rotate-secs", "1", "--app", &app]);
        let mut worker = worker.spawn(Signal::SIGTERM).unwrap();
        let all_committed = async || {
            let status = self.program("status", way, PASSWORD, &["status", "-o", "json", "--app", &app]);
            let partitions: Vec<Value> = serde_json::from_str(&status.output().await.unwrap()).unwrap_or_default();
            let committed = partitions.iter().filter_map(|of| of["committed"].as_u64()).sum::<u64>();
            committed == round * RECORDS_PER_TOPIC * Event::ALL.len() as u64
        };
        worker.wait_until(Duration::from_secs(120), all_committed).await.unwrap();
        worker.stop(Duration::from_secs(30)).await;
    }

    /// By the port that knows nobody.
    async fn forget(&self, topic: &str) {
        let servers = format!("{HOST}:{}", self.ports.kafka);
        let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        let deleted = admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }
}

#[tokio::test]
async fn records_come_through_tls_and_sasl_and_strangers_are_told_why_not() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = checkout.join("target").join(format!("story-secured-{}", std::process::id()));
    let secured = Secured::new(folder.clone());
    let (stop, objects) = (CancellationToken::new(), secured.state.folder("gcs").unwrap());
    let serving = {
        let (stop, port) = (stop.clone(), secured.ports.gcs);
        tokio::spawn(async move { gcs::serve(&objects, port, stop).await })
    };
    let kafka = Kafka::start_with(&secured.state, &secured.ports, &secured.settings()).await.unwrap();

    let [plain, .., without_tls] = WAYS;
    secured.program("prepare", plain, PASSWORD, &["prepare"]).complete().await.unwrap();
    for (round, way) in (1..).zip(WAYS) {
        secured.comes_through(round, way).await;
    }
    // A broker tells it to whom it has let in.
    let settings = bucket::Settings { bucket: BUCKET.to_owned(), endpoint: Some(secured.bucket()) };
    tests::each_log_knows_the_id_of_its_topic(&Bucket::open(&settings).await.unwrap()).await.unwrap();
    secured.forget(Event::ALL[0].topic()).await;
    secured.program("prepare", plain, PASSWORD, &["prepare"]).complete().await.unwrap();
    for (round, way) in (1..).zip(WAYS) {
        let worker = secured.program("late", way, PASSWORD, &["worker", "--app", &format!("app{round}")]);
        let refused = worker.complete().await.unwrap_err();
        assert!(format!("{refused:#}").contains("but Kafka's topic of that name has the id"), "{refused:#}");
    }

    for way in [plain, without_tls] {
        let refused = secured.program("stranger", way, "s3cr3t", &["prepare"]).complete().await.unwrap_err();
        let refused = format!("{refused:#}");
        assert!(refused.contains("SASL authentication error"), "{refused}");
        assert!(!refused.contains("s3cr3t"), "the password is told: {refused}");
    }
    std::fs::write(secured.authority(), certificates().1).unwrap();
    for way in WAYS.iter().filter(|way| way.security.ends_with("SSL")) {
        let refused = secured.program("distrusting", *way, PASSWORD, &["prepare"]).complete().await.unwrap_err();
        assert!(format!("{refused:#}").contains("certificate verify failed"), "{refused:#}");
    }

    kafka.stop().await;
    stop.cancel();
    serving.await.unwrap().unwrap();
    std::fs::remove_dir_all(folder).ok();
}
