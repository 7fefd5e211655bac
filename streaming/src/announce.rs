//! Tells the orchestrator that there are new files: an asset event for each kind of event, so that a DAG may run on new data and
//! not only on the clock. It is a hint, told at least once; what a DAG loads it finds in the manifests.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use lake::{Event, layout};
use serde_json::json;
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::orchestrator::{Orchestrator, OrchestratorOptions};

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(5);

/// Whoever tells it. Telling takes no time: it is done while records are read.
#[derive(Clone, Debug)]
pub struct Announcer(Option<UnboundedSender<Event>>);

impl Announcer {
    /// Ready to tell, if there is somebody to be told.
    #[must_use]
    pub fn start(options: &OrchestratorOptions, runtime: &Handle) -> Self {
        Self(Orchestrator::of(options).map(|orchestrator| {
            let (sender, events) = unbounded_channel();
            runtime.spawn(Teller(orchestrator).run(events));
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

struct Teller(Orchestrator);

impl Teller {
    /// Until nobody can tell it anything any more. What cannot be told now is told later; many hints of an event are one.
    async fn run(self, mut events: UnboundedReceiver<Event>) {
        let mut untold = BTreeSet::new();
        while let Some(event) = events.recv().await {
            untold.insert(event);
            while let Some(event) = untold.pop_first() {
                if let Err(error) = self.tell(event).await {
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
        self.0.call(self.0.post("/api/v2/assets/events").json(&told)).await.map(drop)
    }

    async fn asset(&self, name: &str) -> anyhow::Result<Option<i64>> {
        let found = self.0.call(self.0.get("/api/v2/assets").query(&[("name_prefix_pattern", name)])).await?;
        let assets = found["assets"].as_array().context("the answer has no assets")?;
        Ok(assets.iter().find(|asset| asset["name"] == name).and_then(|asset| asset["id"].as_i64()))
    }
}
