//! BigQuery and the bucket, as the tasks use them.

use anyhow::Context as _;
use bucket::Bucket;
use lake::Event;
use operators::bigquery::{BigQuery, Parameter, Purpose, Rows};
use orchestrator::prelude::*;

use super::{
    batch::{Batch, Ledger, LoadedUpTo},
    plan::Lake,
    sql,
};

/// The project, on behalf of one try.
pub(super) struct Warehouse {
    bigquery: BigQuery,
    context: Context,
    bucket: String,
}

impl Warehouse {
    /// What the settings name; all that are missing are told at once, and trying again does not help.
    pub(super) async fn from_env(context: Context) -> TaskResult<Self> {
        let missing: Vec<_> = ["STREAMCOMMERCE_GCP_PROJECT", "STREAMCOMMERCE_BUCKET"]
            .into_iter()
            .filter(|name| setting(name).is_none())
            .collect();
        if !missing.is_empty() {
            return Err(FailWithoutRetry(format!("not set: {}", missing.join(", "))).into());
        }
        let bucket = setting("STREAMCOMMERCE_BUCKET").unwrap_or_default();
        Ok(Self { bigquery: BigQuery::from_env().await?, context, bucket })
    }

    /// The commit logs that the worker writes.
    pub(super) async fn lake(&self) -> TaskResult<Lake> {
        let endpoint = setting("STREAMCOMMERCE_GCS_ENDPOINT");
        let bucket = Bucket::open(&bucket::Settings { bucket: self.bucket.clone(), endpoint }).await?;
        let epoch = setting("STREAMCOMMERCE_TOPIC_EPOCH").map_or(Ok(1), |text| text.parse());
        Ok(Lake {
            bucket,
            app: setting("STREAMCOMMERCE_APP").unwrap_or_else(|| "streamcommerce".to_owned()),
            epoch: epoch.context("STREAMCOMMERCE_TOPIC_EPOCH is not a number")?,
        })
    }

    /// Where the ledger of an event stands; makes it if there is none.
    pub(super) async fn ledger(&self, event: Event) -> TaskResult<Ledger> {
        let project = self.bigquery.project();
        self.run("create_ledger", "", &sql::create_ledger(project, event), &[]).await?;
        // The answer changes from try to try, so each try asks with a job of its own.
        let asked = format!("{}:{}", self.context.try_number(), instant_of_asking());
        let rows = self.run("read_ledger", &asked, &sql::read_ledger(project, event), &[]).await?;
        let [Some(batch), Some(offsets)] = rows.first().context("the ledger is empty")?.as_slice() else {
            anyhow::bail!("the ledger of {event} has another shape than it should: {rows:?}");
        };
        let LoadedUpTo { epoch, offsets } = serde_json::from_str(offsets)?;
        Ok(Ledger { batch: batch.parse()?, epoch, offsets })
    }

    pub(super) async fn create_external(&self, batch: &Batch) -> TaskResult<()> {
        let project = self.bigquery.project();
        self.run("create_batch", &batch.id, &sql::create_external(project, &self.bucket, batch), &[]).await?;
        let of_all = sql::create_external_of_all(project, &self.bucket, batch.event);
        self.run("create_all", &batch.id, &of_all, &[]).await?;
        Ok(())
    }

    pub(super) async fn create_native(&self, event: Event) -> TaskResult<()> {
        self.run("create", "", &sql::create_native(self.bigquery.project(), event), &[]).await?;
        Ok(())
    }

    /// Loads a batch, and says whose batch is loaded.
    pub(super) async fn load(&self, batch: &Batch) -> TaskResult<String> {
        let loaded = LoadedUpTo { epoch: Some(batch.epoch), offsets: batch.offsets.clone() };
        let parameters = [
            ("old", Parameter::Integer(batch.old)),
            ("new", Parameter::Integer(batch.number)),
            ("batch_id", Parameter::Text(batch.id.clone())),
            ("offsets", Parameter::Text(serde_json::to_string(&loaded)?)),
            ("rows", Parameter::Integer(i64::try_from(batch.rows)?)),
        ];
        let rows = self.run("load", &batch.id, &sql::load(self.bigquery.project(), batch), &parameters).await?;
        let winner = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        winner.context("the load script answered nothing")
    }

    pub(super) async fn count(&self, batch: &Batch) -> TaskResult<u64> {
        let asked = format!("{}:{}", batch.id, instant_of_asking());
        let rows = self.run("count", &asked, &sql::count(self.bigquery.project(), batch), &[]).await?;
        let count = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        Ok(count.context("the count answered nothing")?.parse()?)
    }

    async fn run(&self, job: &str, batch: &str, sql: &str, parameters: &[(&str, Parameter)]) -> TaskResult<Rows> {
        self.bigquery.run(Purpose { context: &self.context, job, batch }, sql, parameters).await
    }
}

/// A read must not be answered by an earlier read.
fn instant_of_asking() -> u128 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |since| since.as_nanos())
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
