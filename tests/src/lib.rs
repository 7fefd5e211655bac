//! End-to-end stories through the real programs, on the local stack: see `tests/`. Here: what the stories share.

pub mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use bucket::Bucket;
use lake::{Event, Genesis, Manifest, layout};
use local::{
    bigquery::PROJECT,
    child::Child,
    ports::{HOST, Ports},
    stack::{BUCKET, Stack},
    state::{State, postgres_data_of_root},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Long enough for the slowest machine, short enough to end a story that hangs.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The flagship.
pub const DAG: &str = "load_to_bigquery";

/// A stack of its own, on free ports, in a folder of its own.
#[derive(Debug)]
pub struct World {
    /// The parts.
    pub stack: Stack,
    http: reqwest::Client,
    folder: std::path::PathBuf,
}

/// What the manifests say, over all events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Committed {
    /// Records that were read.
    pub read: u64,
    /// Rows.
    pub valid: u64,
    /// Dead letters.
    pub invalid: u64,
}

/// Checks that each commit log of a bucket holds the id that Kafka has given to its topic: one for all partitions of a
/// topic, another one for another topic.
///
/// # Errors
/// The bucket does not answer, or a topic has no id of its own.
pub async fn each_log_knows_the_id_of_its_topic(bucket: &Bucket) -> anyhow::Result<()> {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for object in bucket.list("_commits/", "").await? {
        if object.name.ends_with("_genesis.json") {
            let genesis: Genesis = serde_json::from_slice(&bucket.read(&object.name).await?.context("gone")?)?;
            ids.entry(genesis.log.topic).or_default().insert(genesis.topic_id);
        }
    }
    let different: BTreeSet<_> = ids.values().flatten().filter(|id| !id.is_empty()).collect();
    let is_one_each = ids.values().all(|of_topic| of_topic.len() == 1);
    ensure!(is_one_each && (ids.len(), different.len()) == (Event::ALL.len(), Event::ALL.len()), "{ids:?}");
    Ok(())
}

impl World {
    /// Starts the parts.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(story: &str) -> anyhow::Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
        let folder = checkout.join("target").join(format!("story-{story}-{}", std::process::id()));
        let state = State::take(&folder)?;
        let stack = Stack::start(checkout, state, Ports::free()?, |_| {}).await?;
        Ok(Self { stack, http: reqwest::Client::new(), folder })
    }

    /// Starts `streamcommerce standalone`, and waits until it answers and its scheduler has registered the DAGs.
    ///
    /// # Errors
    /// It does not.
    pub async fn standalone(&self) -> anyhow::Result<Child> {
        let mut standalone =
            self.stack.streamcommerce("standalone", &["--examples", "standalone"])?.spawn(Signal::SIGTERM)?;
        let dag = format!("{}/api/v2/dags/{DAG}", self.stack.web());
        let is_up = async || reqwest::get(&dag).await.is_ok_and(|answer| answer.status().is_success());
        standalone.wait_until(PATIENCE, is_up).await?;
        Ok(standalone)
    }

    /// Starts `streaming worker`, which commits every other second, and waits until it has its partitions.
    ///
    /// # Errors
    /// It does not start.
    pub async fn worker(&self) -> anyhow::Result<Child> {
        let listen = format!("{HOST}:{}", self.stack.ports().streaming);
        let arguments = ["worker", "--rotate-secs", "2", "--listen", &listen];
        let mut worker = self.stack.streaming("worker", &arguments)?.spawn(Signal::SIGTERM)?;
        let is_ready =
            async || reqwest::get(format!("http://{listen}/readyz")).await.is_ok_and(|said| said.status() == 200);
        worker.wait_until(PATIENCE, is_ready).await?;
        Ok(worker)
    }

    /// What the streaming worker tells Prometheus: the sum of a figure over its labels.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn figure(&self, name: &str) -> anyhow::Result<f64> {
        let text =
            reqwest::get(format!("http://{HOST}:{}/metrics", self.stack.ports().streaming)).await?.text().await?;
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let values: Vec<f64> = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        ensure!(!values.is_empty(), "there is no {name} in\n{text}");
        Ok(values.iter().sum())
    }

    /// Produces so many events per topic, a share of them broken, and waits until Kafka has them.
    ///
    /// # Errors
    /// Kafka refuses.
    pub async fn produce(&self, count: u32, invalid: &str) -> anyhow::Result<u64> {
        let count_text = count.to_string();
        let arguments = ["produce", "--rate", "0", "--count", &count_text, "--invalid", invalid];
        self.stack.streaming("produce", &arguments)?.complete().await?;
        Ok(u64::from(count) * Event::ALL.len() as u64)
    }

    /// Waits until the manifests account for so many records.
    ///
    /// # Errors
    /// They never do.
    pub async fn committed(&self, records: u64) -> anyhow::Result<Committed> {
        let reached = tokio::time::timeout(PATIENCE, async {
            loop {
                let committed = self.manifests().await?;
                if committed.read >= records {
                    return anyhow::Ok(committed);
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        reached.await.with_context(|| format!("{records} records were never committed"))?
    }

    /// The bucket.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn bucket(&self) -> anyhow::Result<Bucket> {
        let endpoint = Some(format!("http://{HOST}:{}", self.stack.ports().gcs));
        Bucket::open(&bucket::Settings { bucket: BUCKET.to_owned(), endpoint }).await
    }

    /// What the manifests say now; every log must be without a hole.
    ///
    /// # Errors
    /// The bucket does not answer, or a log has a hole.
    pub async fn manifests(&self) -> anyhow::Result<Committed> {
        let bucket = self.bucket().await?;
        let mut committed = Committed::default();
        let mut ends = std::collections::HashMap::new();
        for object in bucket.list("_commits/", "").await? {
            if layout::start_of_manifest(&object.name).is_none() {
                continue;
            }
            let contents = bucket.read(&object.name).await?.context("a manifest is gone")?;
            let manifest: Manifest = serde_json::from_slice(&contents)?;
            ensure!(manifest.fault().is_none(), "{}: {:?}", object.name, manifest.fault());
            let log = (manifest.log.topic.clone(), manifest.log.partition);
            if let Some(end) = ends.insert(log, manifest.end) {
                ensure!(end == manifest.start, "{}: a hole from {end}", object.name);
            }
            committed.read += manifest.counts.read;
            committed.valid += manifest.counts.valid;
            committed.invalid += manifest.counts.invalid;
        }
        Ok(committed)
    }

    /// Triggers the flagship; returns the id of the run.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn trigger(&self, dag: &str) -> anyhow::Result<String> {
        self.patch(&format!("/dags/{dag}"), json!({ "is_paused": false })).await?;
        let run = self.post(&format!("/dags/{dag}/dagRuns"), json!({ "logical_date": null })).await?;
        Ok(run["dag_run_id"].as_str().context("no dag_run_id")?.to_owned())
    }

    /// Waits for the end of a run, over REST.
    ///
    /// # Errors
    /// It does not end, or not in that state; then its tasks are in the message.
    pub async fn run_ends(&self, dag: &str, run: &str, wanted: &str) -> anyhow::Result<()> {
        let path = format!("/dags/{dag}/dagRuns/{}", run.replace('+', "%2B").replace(':', "%3A"));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let state = loop {
            // While the server is away there is no answer.
            let state = self.get(&path).await.ok().and_then(|run| run["state"].as_str().map(ToOwned::to_owned));
            match state {
                Some(state) if state == "success" || state == "failed" => break state,
                state if tokio::time::Instant::now() > deadline => break format!("{state:?}, still"),
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        if state == wanted {
            return Ok(());
        }
        let tasks = self.get(&format!("{path}/taskInstances")).await.unwrap_or_default();
        let mut logs = String::new();
        for task in tasks["task_instances"].as_array().into_iter().flatten() {
            let name = task["task_id"].as_str().unwrap_or_default();
            logs.push_str(&format!("{name}: {}\n", task["state"]));
            if task["state"] != "success" {
                let number = task["try_number"].as_i64().unwrap_or(1);
                let log = self.get(&format!("{path}/taskInstances/{name}/logs/{number}")).await.unwrap_or_default();
                logs.push_str(&format!("{log:#}\n"));
            }
        }
        anyhow::bail!("{run} ended {state}, not {wanted}\n{logs}")
    }

    /// GET of the API.
    ///
    /// # Errors
    /// No answer, or an error; its body is in the message.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(self.http.get(self.url(path))).await
    }

    /// POST of the API.
    ///
    /// # Errors
    /// No answer, or an error; its body is in the message.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(self.http.post(self.url(path)).json(&body)).await
    }

    /// PATCH of the API.
    ///
    /// # Errors
    /// No answer, or an error; its body is in the message.
    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(self.http.patch(self.url(path)).json(&body)).await
    }

    /// The HTML of a page.
    ///
    /// # Errors
    /// No answer, or an error.
    pub async fn page(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.http.get(format!("{}{path}", self.stack.web())).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v2{path}", self.stack.web())
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = request.send().await?;
        let (status, url) = (answer.status(), answer.url().clone());
        let body = answer.text().await?;
        ensure!(status.is_success(), "{url}: {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Has the warehouse carry out a statement.
    ///
    /// # Errors
    /// It refuses.
    pub async fn query(&self, sql: &str) -> anyhow::Result<Value> {
        let url = format!("http://{HOST}:{}/bigquery/v2/projects/{PROJECT}/queries", self.stack.ports().bigquery);
        let body = json!({ "query": sql, "useLegacySql": false });
        self.call(self.http.post(url).json(&body)).await
    }

    /// Asks the warehouse for one number.
    ///
    /// # Errors
    /// It refuses.
    pub async fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let answer = self.query(sql).await?;
        let cell = answer["rows"][0]["f"][0]["v"].as_str().with_context(|| format!("{sql}: {answer}"))?;
        Ok(cell.parse()?)
    }

    /// The rows of all tables of a dataset whose names begin so.
    ///
    /// # Errors
    /// The warehouse refuses.
    pub async fn rows(&self, dataset: &str, prefix: &str) -> anyhow::Result<u64> {
        let mut rows = 0;
        for event in Event::ALL {
            rows += self.number(&format!("SELECT COUNT(*) FROM `{PROJECT}.{dataset}.{prefix}{event}`")).await?;
        }
        Ok(rows)
    }

    /// Stops the parts and forgets their data.
    pub async fn stop(self) {
        self.stack.stop().await;
        let of_root = postgres_data_of_root(&self.folder);
        for folder in [self.folder, of_root] {
            std::fs::remove_dir_all(folder).ok();
        }
    }
}
