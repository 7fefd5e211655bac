//! Tells the orchestrator that there are new files: an asset event for each kind of event, so that a DAG may run on new data and
//! not only on the clock. It is a hint, told at least once; what a DAG loads it finds in the manifests.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use lake::{Event, layout};
use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(5);

/// A connection that has silently gone must not hold back what comes after it.
const ANSWER: Duration = Duration::from_secs(30);

/// Where the orchestrator is.
#[derive(Clone, Debug, Args)]
pub struct AnnounceOptions {
    /// The address of the orchestrator, for example `http://127.0.0.1:8080`; without it nobody is told of new files. A DAG
    /// that waits for the asset `events_data/EVENT` (the folder of the files) runs when there are some.
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

/// Whoever tells it. Telling takes no time: it is done while records are read.
#[derive(Clone, Debug)]
pub struct Announcer(Option<UnboundedSender<Event>>);

impl Announcer {
    /// Ready to tell, if there is somebody to be told.
    #[must_use]
    pub fn start(options: &AnnounceOptions, runtime: &Handle) -> Self {
        Self(options.orchestrator_url.clone().map(|url| {
            let (sender, events) = unbounded_channel();
            let url = url.trim_end_matches('/').to_owned();
            let teller = Teller { http: reqwest::Client::new(), url, token: options.token.clone() };
            runtime.spawn(teller.run(events));
            sender
        }))
    }

    /// There are new files of this event, or there may be.
    pub fn tell(&self, event: Event) {
        if let Some(sender) = &self.0 {
            sender.send(event).ok();
        }
    }
}

struct Teller {
    http: reqwest::Client,
    url: String,
    token: Token,
}

impl Teller {
    /// Until nobody can tell it anything any more. What cannot be told now is told later; many hints of an event are one.
    async fn run(self, mut events: UnboundedReceiver<Event>) {
        let mut untold = BTreeSet::new();
        while let Some(event) = events.recv().await {
            untold.insert(event);
            while let Some(event) = untold.pop_first() {
                let told = tokio::time::timeout(ANSWER, self.tell(event)).await.context("no answer").flatten();
                if let Err(error) = told {
                    tracing::warn!(%event, error = format!("{error:#}"), "the orchestrator was not told; trying again");
                    untold.insert(event);
                    tokio::time::sleep(PAUSE).await;
                }
                while let Ok(event) = events.try_recv() {
                    untold.insert(event);
                }
            }
        }
    }

    async fn tell(&self, event: Event) -> anyhow::Result<()> {
        // An asset that nobody knows is one that nobody waits for.
        let Some(id) = self.asset(&layout::events_prefix(event)).await? else { return Ok(()) };
        let told = json!({ "asset_id": id, "extra": { "topic": event.topic() } });
        self.call(self.http.post(format!("{}/api/v2/assets/events", self.url)).json(&told)).await?;
        Ok(())
    }

    async fn asset(&self, name: &str) -> anyhow::Result<Option<i64>> {
        let asked = self.http.get(format!("{}/api/v2/assets", self.url)).query(&[("name_prefix_pattern", name)]);
        let found = self.call(asked).await?;
        let assets = found["assets"].as_array().context("the answer has no assets")?;
        Ok(assets.iter().find(|asset| asset["name"] == name).and_then(|asset| asset["id"].as_i64()))
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let request = match &self.token.0 {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }
}
