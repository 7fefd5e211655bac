//! Tells the orchestrator how the worker is, so that a page can show it.

use std::{sync::Arc, time::Duration};

use lake::report::Report;

use crate::{
    metrics::Metrics,
    orchestrator::Orchestrator,
    settings::{LogOptions, WorkerOptions},
};

/// How often.
const EVERY: Duration = Duration::from_secs(10);

/// A worker that has ended does not wait longer to say so.
const FAREWELL: Duration = Duration::from_secs(2);

/// Whoever tells it.
#[derive(Debug)]
pub struct Reporter {
    orchestrator: Orchestrator,
    worker: String,
    log: LogOptions,
    metrics: Arc<Metrics>,
}

impl Reporter {
    /// Ready to tell, if there is somebody to be told.
    #[must_use]
    pub fn of(options: &WorkerOptions, metrics: &Arc<Metrics>) -> Option<Self> {
        Some(Self {
            orchestrator: Orchestrator::of(&options.orchestrator)?,
            worker: options.instance.clone().unwrap_or_else(own_name),
            log: options.logs.clone(),
            metrics: Arc::clone(metrics),
        })
    }

    /// Tells it now and then, for ever. What cannot be told is told by the next report.
    pub async fn run(self: Arc<Self>) {
        let (mut ticks, mut is_told) = (tokio::time::interval(EVERY), true);
        loop {
            ticks.tick().await;
            let told = self.tell(self.now()).await;
            if let Err(error) = &told
                && is_told
            {
                tracing::warn!(error = format!("{error:#}"), "the orchestrator does not hear how this worker is");
            }
            is_told = told.is_ok();
        }
    }

    /// Tells that the worker has ended as it was told to.
    pub async fn stopped(&self) {
        let last = Report { has_stopped: true, is_ready: false, partitions: Vec::new(), ..self.now() };
        tokio::time::timeout(FAREWELL, self.tell(last)).await.ok();
    }

    fn now(&self) -> Report {
        let LogOptions { app, epoch } = self.log.clone();
        Report { worker: self.worker.clone(), app, epoch, ..self.metrics.report() }
    }

    async fn tell(&self, report: Report) -> anyhow::Result<()> {
        self.orchestrator.call(self.orchestrator.post("/api/streaming/reports").json(&report)).await.map(drop)
    }
}

/// A name for a worker that was given none.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}
