//! Tells a web address.

use anyhow::{Context, ensure};
use async_trait::async_trait;
use orchestrator::notify::{Notice, Notifier};

/// Sends what happened as JSON in a POST: the fields of [`Notice`], and `text`, a sentence for people.
#[derive(Clone, Debug)]
pub struct Webhook {
    client: reqwest::Client,
    url: String,
}

impl Webhook {
    /// Tells this address.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        Self { client: reqwest::Client::new(), url: url.into() }
    }

    pub(super) async fn post(&self, body: &serde_json::Value) -> anyhow::Result<()> {
        // Without the address in the error: whoever knows it may post there.
        let answer = self.client.post(&self.url).json(body).send().await.map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        ensure!(status.is_success(), "the webhook answered {status}");
        Ok(())
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, notice: &Notice) -> anyhow::Result<()> {
        let mut body = serde_json::to_value(notice).context("cannot write the notice as JSON")?;
        body["text"] = notice.to_string().into();
        self.post(&body).await
    }
}
