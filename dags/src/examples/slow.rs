//! A task that takes its time, but ends at once when it is stopped: clear it while it runs, or mark it.

use std::time::Duration;

use orchestrator::prelude::*;

const NAP: Duration = Duration::from_secs(120);

pub(crate) fn dag() -> Dag {
    let dag =
        Dag::new("example_slow").source(include_str!("slow.rs")).description("Naps for two minutes.").tag("example");
    dag.chain(dag.task("nap", nap) >> dag.task("after", after));
    dag
}

async fn nap(_: Context) -> TaskResult<()> {
    tracing::info!("good night");
    tokio::time::sleep(NAP).await;
    tracing::info!("good morning");
    Ok(())
}

async fn after(_: Context) -> TaskResult<()> {
    Ok(())
}
