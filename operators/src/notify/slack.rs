//! Tells a Slack channel, or whatever takes Slack's incoming webhooks (Mattermost, Rocket.Chat).

use async_trait::async_trait;
use orchestrator::notify::{Event, Notice, Notifier};
use serde_json::json;

use super::Webhook;

/// Says what happened in a channel.
#[derive(Clone, Debug)]
pub struct Slack(Webhook);

impl Slack {
    /// Says it through this incoming webhook.
    #[must_use]
    pub fn to(webhook_url: impl Into<String>) -> Self {
        Self(Webhook::to(webhook_url))
    }
}

#[async_trait]
impl Notifier for Slack {
    async fn notify(&self, notice: &Notice) -> anyhow::Result<()> {
        let sign = match notice.event {
            Event::TaskSuccess | Event::RunSuccess => ":white_check_mark:",
            Event::TaskFailure | Event::RunFailure => ":x:",
            Event::TaskRetry => ":repeat:",
            Event::TaskSkipped => ":fast_forward:",
            Event::DeadlineMissed => ":alarm_clock:",
        };
        self.0.post(&json!({ "text": format!("{sign} {}", escaped(&notice.to_string())) })).await
    }
}

/// Slack's three control characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
