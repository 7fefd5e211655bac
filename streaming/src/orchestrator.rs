//! The orchestrator, as somebody to be told something.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use reqwest::RequestBuilder;
use serde_json::Value;

/// A connection that has silently gone must not hold back what comes after it.
const ANSWER: Duration = Duration::from_secs(30);

/// Where the orchestrator is.
#[derive(Clone, Debug, Args)]
pub struct OrchestratorOptions {
    /// The address of the orchestrator, for example `http://127.0.0.1:8080`; without it nobody is told of new files, and no
    /// page shows the figures of the worker. A DAG that waits for the asset `events_data/EVENT` (the folder of the files)
    /// runs when there are some.
    #[arg(long, env = "STREAMCOMMERCE_URL")]
    pub orchestrator_url: Option<String>,
    /// A token of a user with the role op, by the environment alone: arguments can be read by everybody on the machine.
    #[arg(skip)]
    pub token: Token,
}

/// A token that is not shown, from `STREAMCOMMERCE_TOKEN`.
#[derive(Clone)]
pub struct Token(Option<String>);

impl Default for Token {
    fn default() -> Self {
        Self(std::env::var("STREAMCOMMERCE_TOKEN").ok())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("***")
    }
}

/// Its API.
#[derive(Clone, Debug)]
pub(crate) struct Orchestrator {
    http: reqwest::Client,
    url: String,
    token: Token,
}

impl Orchestrator {
    /// The one that is named, if one is.
    pub(crate) fn of(options: &OrchestratorOptions) -> Option<Self> {
        let url = options.orchestrator_url.as_ref()?.trim_end_matches('/').to_owned();
        Some(Self { http: reqwest::Client::new(), url, token: options.token.clone() })
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.url))
    }

    /// What it answers, which may be nothing.
    pub(crate) async fn call(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let request = match &self.token.0 {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.timeout(ANSWER).send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{status}: {body}");
        if body.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&body).context("the answer is not JSON") }
    }
}
