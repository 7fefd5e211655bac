//! All parts together, and what the programs must be told to find them.

use std::path::{Path, PathBuf};

use tokio::net::TcpStream;

use crate::{
    bigquery::{self, BigQuery},
    child::{Child, Program, built},
    kafka::Broker,
    ports::{HOST, Ports},
    postgres::Postgres,
    state::State,
};

/// The bucket of the local stack.
pub const BUCKET: &str = "streamcommerce";

/// Parts and programs that run.
#[derive(Debug)]
pub struct Stack {
    state: State,
    ports: Ports,
    checkout: PathBuf,
    postgres: Postgres,
    kafka: Broker,
    gcs: Child,
    bigquery: BigQuery,
    environment: Vec<(String, String)>,
}

impl Stack {
    /// Starts every part that does not run yet elsewhere, telling `tell` what comes next.
    ///
    /// # Errors
    /// A part does not start; the end of its log is in the message.
    pub async fn start(checkout: &Path, state: State, ports: Ports, tell: impl Fn(&str)) -> anyhow::Result<Self> {
        tell("fetching what is not in the cache: Kafka, the BigQuery emulator, dbt");
        BigQuery::fetch(checkout, &state).await?;
        Broker::fetch(&state).await?;
        let dbt = bigquery::dbt(checkout, &state).await?;
        let objects = state.folder("gcs")?;
        tell("starting Postgres, Kafka, the GCS emulator and the BigQuery emulator");
        let (postgres, kafka, gcs, bigquery) = futures::try_join!(
            Postgres::start(&state, ports.postgres),
            Broker::start(&state, &ports),
            start_gcs(&state, &ports, &objects),
            BigQuery::start(checkout, &state, &ports, &objects),
        )?;
        let database = postgres.database("streamcommerce").await?;
        let environment = environment(checkout, &state, &ports, &kafka, &database, &dbt)?;
        let mut stack =
            Self { state, ports, checkout: checkout.to_owned(), postgres, kafka, gcs, bigquery, environment };
        tell("migrating the database, making the topics and the bucket");
        stack.streamcommerce("migrate", &["db", "migrate"])?.complete().await?;
        stack.streaming("prepare", &["prepare"])?.complete().await?;
        make_datasets(&stack.ports).await?;
        stack.check_alive()?;
        Ok(stack)
    }

    /// The program `streamcommerce`, told where everything is.
    ///
    /// # Errors
    /// It was not built.
    pub fn streamcommerce(&self, name: &'static str, arguments: &[&str]) -> anyhow::Result<Program> {
        self.program(name, "streamcommerce", arguments)
    }

    /// The program `streaming`, told where everything is.
    ///
    /// # Errors
    /// It was not built.
    pub fn streaming(&self, name: &'static str, arguments: &[&str]) -> anyhow::Result<Program> {
        self.program(name, "streaming", arguments)
    }

    fn program(&self, name: &'static str, binary: &str, arguments: &[&str]) -> anyhow::Result<Program> {
        let environment = self.environment.iter().map(|(key, value)| (key, value));
        Ok(Program::new(name, built(binary)?, &self.state.logs()).args(arguments).envs(environment))
    }

    /// The settings of the programs.
    #[must_use]
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The ports.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The checkout that it runs.
    #[must_use]
    pub fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// The address of the pages.
    #[must_use]
    pub fn web(&self) -> String {
        format!("http://{HOST}:{}", self.ports.web)
    }

    /// An error that shows the end of the log of a part that has ended.
    ///
    /// # Errors
    /// A part has ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        self.postgres.child().check_alive()?;
        self.kafka.check_alive()?;
        self.gcs.check_alive()?;
        self.bigquery.child().check_alive()
    }

    /// Ends Postgres at once, as a crash would, and starts it again after `meanwhile`.
    ///
    /// # Errors
    /// It does not start again.
    pub async fn crash_postgres(self, meanwhile: impl AsyncFnOnce()) -> anyhow::Result<Self> {
        let Self { state, ports, checkout, postgres, kafka, gcs, bigquery, environment } = self;
        postgres.kill().await;
        meanwhile().await;
        let postgres = Postgres::start(&state, ports.postgres).await?;
        Ok(Self { state, ports, checkout, postgres, kafka, gcs, bigquery, environment })
    }

    /// Stops every part, the last one first.
    pub async fn stop(self) {
        const STOP: std::time::Duration = std::time::Duration::from_secs(2);
        futures::join!(self.bigquery.stop(), self.gcs.stop(STOP), self.kafka.stop(), self.postgres.stop());
    }
}

async fn start_gcs(state: &State, ports: &Ports, objects: &Path) -> anyhow::Result<Child> {
    const START: std::time::Duration = std::time::Duration::from_secs(20);
    let port = ports.gcs.to_string();
    let mut child = Program::new("gcs", built("local")?, &state.logs())
        .args(["gcs", "--port", &port, "--root"])
        .args([objects])
        .spawn(nix::sys::signal::Signal::SIGTERM)?;
    let port = ports.gcs;
    child.wait_until(START, async || TcpStream::connect((HOST, port)).await.is_ok()).await?;
    Ok(child)
}

/// What Terraform makes in the cloud.
async fn make_datasets(ports: &Ports) -> anyhow::Result<()> {
    let url = format!("http://{HOST}:{}/bigquery/v2/projects/{}/datasets", ports.bigquery, bigquery::PROJECT);
    for dataset in ["staging_streamcommerce", "prod_streamcommerce"] {
        let reference = serde_json::json!({ "projectId": bigquery::PROJECT, "datasetId": dataset });
        let new = serde_json::json!({ "datasetReference": reference, "location": "US" });
        let status = reqwest::Client::new().post(&url).json(&new).send().await?.status();
        anyhow::ensure!(
            status.is_success() || status == reqwest::StatusCode::CONFLICT,
            "cannot make the dataset {dataset}: {status}"
        );
    }
    Ok(())
}

/// What the same programs would be told in the cloud, pointed at the local parts.
fn environment(
    checkout: &Path,
    state: &State,
    ports: &Ports,
    kafka: &Broker,
    database: &str,
    dbt: &Path,
) -> anyhow::Result<Vec<(String, String)>> {
    let path = |path: PathBuf| path.display().to_string();
    let variables = [
        ("STREAMCOMMERCE_DATABASE_URL", database.to_owned()),
        ("STREAMCOMMERCE_SECRET_KEY", state.secret_key()?),
        ("STREAMCOMMERCE_KAFKA_BOOTSTRAP_SERVERS", kafka.servers(ports)),
        ("STREAMCOMMERCE_GCS_ENDPOINT", format!("http://{HOST}:{}", ports.gcs)),
        ("STREAMCOMMERCE_BUCKET", BUCKET.to_owned()),
        ("STREAMCOMMERCE_BIGQUERY_ENDPOINT", format!("http://{HOST}:{}", ports.bigquery)),
        ("STREAMCOMMERCE_GCP_PROJECT", bigquery::PROJECT.to_owned()),
        ("STREAMCOMMERCE_DBT", dbt.display().to_string()),
        ("STREAMCOMMERCE_DBT_PROJECT", path(checkout.join("dbt"))),
        ("STREAMCOMMERCE_DBT_STATE", path(state.root().join("dbt"))),
        ("STREAMCOMMERCE_WEB_BIND", format!("{HOST}:{}", ports.web)),
        ("STREAMCOMMERCE_URL", format!("http://{HOST}:{}", ports.web)),
        // Whoever reaches this machine's loopback has its files as well.
        ("STREAMCOMMERCE_UNAUTHENTICATED", "loopback".to_owned()),
        ("STREAMCOMMERCE_DRAIN_SECS", "2".to_owned()),
    ];
    Ok(variables.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
