//! `BigQuery` jobs that can be asked for twice: each has an id made from what it is for, so that a retry after a lost
//! reply finds the job instead of running it again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use gcp_bigquery_client::{
    Client,
    auth::Authenticator,
    client_builder::ClientBuilder,
    error::BQError,
    model::{
        get_query_results_parameters::GetQueryResultsParameters, job::Job, job_configuration::JobConfiguration,
        job_configuration_query::JobConfigurationQuery, job_reference::JobReference, query_parameter::QueryParameter,
        query_parameter_type::QueryParameterType, query_parameter_value::QueryParameterValue, table_row::TableRow,
    },
};
use orchestrator::context::Context;
use sha2::{Digest, Sha256};

/// How often a job that ended in a conflict, or that an earlier try left failed, is asked for anew.
const ROUNDS_MAX: u32 = 20;

/// How often a running job is looked at; the pause doubles up to the second figure.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Rows that a script may answer with; ours answer with a handful.
const ROWS_MAX: i32 = 10_000;

/// A project.
#[derive(Clone)]
pub struct BigQuery {
    client: Client,
    project: String,
    location: String,
    /// Another server than Google's.
    endpoint: Option<String>,
}

/// What a job is for: the same words make the same job.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// The try that asks; its DAG, run, task and map index count, the number of the try does not.
    pub context: &'a Context,
    /// Which of the task's jobs.
    pub job: &'a str,
    /// What it works on.
    pub batch: &'a str,
}

/// A named parameter of a statement.
#[derive(Clone, Debug)]
pub enum Parameter {
    /// INT64.
    Integer(i64),
    /// STRING.
    Text(String),
}

/// The rows that a job answered with, as text.
pub type Rows = Vec<Vec<Option<String>>>;

/// How an attempt at a job ended.
enum End {
    Done,
    Conflict(String),
    Failed(String),
}

/// Sends no credentials: an emulator takes any token.
#[derive(Clone)]
struct NoCredentials;

#[async_trait]
impl Authenticator for NoCredentials {
    async fn access_token(&self) -> Result<String, BQError> {
        Ok("local".to_owned())
    }
}

impl BigQuery {
    /// The project that the settings name: `STREAMCOMMERCE_GCP_PROJECT`, `STREAMCOMMERCE_BIGQUERY_LOCATION` (US by
    /// default), and for another server than Google's `STREAMCOMMERCE_BIGQUERY_ENDPOINT`, which gets no credentials.
    ///
    /// # Errors
    /// The project is not named, or there are no credentials.
    pub async fn from_env() -> anyhow::Result<Self> {
        let setting = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let project = setting("STREAMCOMMERCE_GCP_PROJECT").context("STREAMCOMMERCE_GCP_PROJECT is not set")?;
        let location = setting("STREAMCOMMERCE_BIGQUERY_LOCATION").unwrap_or_else(|| "US".to_owned());
        let endpoint = setting("STREAMCOMMERCE_BIGQUERY_ENDPOINT");
        let endpoint = endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        let client = match &endpoint {
            Some(endpoint) => {
                ClientBuilder::new()
                    .with_v2_base_url(format!("{endpoint}/bigquery/v2"))
                    .build_from_authenticator(Arc::new(NoCredentials))
                    .await?
            }
            None => ClientBuilder::new().build_from_application_default_credentials().await?,
        };
        Ok(Self { client, project, location, endpoint })
    }

    /// The project's name.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Runs a statement or a script once, however often this is called for the same purpose: a job that runs is
    /// waited for, one that is done is taken, one that an earlier try left failed is asked for anew.
    ///
    /// # Errors
    /// The job fails, with `BigQuery`'s words; or the service cannot be reached.
    pub async fn run(&self, purpose: Purpose<'_>, sql: &str, parameters: &[(&str, Parameter)]) -> anyhow::Result<Rows> {
        purpose.context.rendered(purpose.job, sql);
        for round in 0..ROUNDS_MAX {
            let id = job_id(purpose, round);
            purpose.context.link(&format!("BigQuery job {}", purpose.job), &self.address(&id));
            let is_new = self.insert(&id, purpose, sql, parameters).await?;
            match self.wait(&id).await? {
                End::Done => return self.rows(&id).await,
                End::Conflict(why) => tracing::info!("job {id} met another transaction; running it again ({why})"),
                End::Failed(why) if is_new => bail!("job {id} failed: {why}"),
                End::Failed(_) => {}
            }
        }
        bail!("the job {} was asked for {ROUNDS_MAX} times and never came through", purpose.job)
    }

    /// Where people see the job: in Google's console, or what an emulator says of it.
    fn address(&self, id: &str) -> String {
        let Self { project, location, endpoint, .. } = self;
        match endpoint {
            None => format!(
                "https://console.cloud.google.com/bigquery?project={project}&j=bq:{location}:{id}&page=queryresults"
            ),
            Some(endpoint) => format!("{endpoint}/bigquery/v2/projects/{project}/jobs/{id}?location={location}"),
        }
    }

    /// Asks for the job; false if it is there already.
    async fn insert(
        &self,
        id: &str,
        purpose: Purpose<'_>,
        sql: &str,
        parameters: &[(&str, Parameter)],
    ) -> anyhow::Result<bool> {
        let query = JobConfigurationQuery {
            query: sql.to_owned(),
            use_legacy_sql: Some(false),
            parameter_mode: (!parameters.is_empty()).then(|| "NAMED".to_owned()),
            query_parameters: Some(parameters.iter().map(|(name, value)| parameter(name, value)).collect()),
            ..JobConfigurationQuery::default()
        };
        let configuration =
            JobConfiguration { labels: Some(labels(purpose)), query: Some(query), ..JobConfiguration::default() };
        let reference = JobReference {
            job_id: Some(id.to_owned()),
            location: Some(self.location.clone()),
            project_id: Some(self.project.clone()),
        };
        let job = Job { configuration: Some(configuration), job_reference: Some(reference), ..Job::default() };
        match self.client.job().insert(&self.project, job).await {
            Ok(_) => Ok(true),
            Err(BQError::ResponseError { error }) if error.error.code == 409 => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot ask for the job {id}")),
        }
    }

    async fn wait(&self, id: &str) -> anyhow::Result<End> {
        let mut pause = POLL.0;
        loop {
            let job = self.client.job().get_job(&self.project, id, Some(&self.location)).await?;
            let status = job.status.unwrap_or_default();
            if status.state.as_deref() == Some("DONE") {
                let Some(error) = status.error_result else { return Ok(End::Done) };
                let why = error.message.unwrap_or_else(|| "without a message".to_owned());
                return Ok(if is_conflict(&why) { End::Conflict(why) } else { End::Failed(why) });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL.1);
        }
    }

    async fn rows(&self, id: &str) -> anyhow::Result<Rows> {
        let parameters = GetQueryResultsParameters {
            location: Some(self.location.clone()),
            max_results: Some(ROWS_MAX),
            ..GetQueryResultsParameters::default()
        };
        let answer = self.client.job().get_query_results(&self.project, id, parameters).await?;
        Ok(answer.rows.unwrap_or_default().into_iter().map(cells).collect())
    }
}

/// Two transactions changed the same row: `BigQuery`'s words, and its emulator's.
fn is_conflict(message: &str) -> bool {
    [
        "Transaction is aborted due to concurrent update",
        "Failed to commit DuckLake transaction",
        "Could not serialize access",
    ]
    .iter()
    .any(|words| message.contains(words))
}

fn job_id(purpose: Purpose<'_>, round: u32) -> String {
    let facts = purpose.context.facts();
    let what = format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        facts.dag_id, facts.run_id, facts.task_id, facts.map_index, purpose.job, purpose.batch
    );
    let digest = format!("{:x}", Sha256::digest(what));
    format!("{}_{}_{}_r{round}", label(facts.task_id.as_str()), label(purpose.job), &digest[..24])
}

fn labels(purpose: Purpose<'_>) -> HashMap<String, String> {
    let facts = purpose.context.facts();
    let labels = [("dag", facts.dag_id.as_str()), ("run", facts.run_id.as_str()), ("task", facts.task_id.as_str())];
    labels.into_iter().map(|(name, value)| (name.to_owned(), label(value))).collect()
}

/// What a label may hold: lower-case letters, digits, `_` and `-`, at most 63.
fn label(text: &str) -> String {
    let allowed =
        |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c.to_ascii_lowercase() } else { '-' };
    text.chars().take(63).map(allowed).collect()
}

fn parameter(name: &str, value: &Parameter) -> QueryParameter {
    let (kind, text) = match value {
        Parameter::Integer(number) => ("INT64", number.to_string()),
        Parameter::Text(text) => ("STRING", text.clone()),
    };
    QueryParameter {
        name: Some(name.to_owned()),
        parameter_type: Some(QueryParameterType { array_type: None, struct_types: None, r#type: kind.to_owned() }),
        parameter_value: Some(QueryParameterValue { array_values: None, struct_values: None, value: Some(text) }),
    }
}

fn cells(row: TableRow) -> Vec<Option<String>> {
    let text = |value: serde_json::Value| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    row.columns.unwrap_or_default().into_iter().map(|cell| cell.value.and_then(text)).collect()
}
