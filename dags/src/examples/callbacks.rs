//! Callbacks are kept in the database until they have been told: none is lost when a machine dies. A deadline is missed
//! also by a run that never ends.

use std::time::Duration;

use anyhow::bail;
use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_callbacks")
        .source(include_str!("callbacks.rs"))
        .description("Tells the log of the scheduler what happens; Slack, mail and web addresses are in `operators`.")
        .tag("example")
        .on_failure(tell)
        .deadline(Deadline::AfterQueued(Duration::from_secs(60)), tell);
    let flaky = dag.task("flaky", flaky).retries(1).retry_delay(Duration::from_secs(1)).on_retry(tell);
    dag.chain(flaky >> dag.task("fails", fails).on_failure(tell));
    dag
}

async fn tell(notice: Notice) -> anyhow::Result<()> {
    tracing::warn!("{notice}");
    Ok(())
}

async fn flaky(context: Context) -> TaskResult<()> {
    if context.try_number() == 1 {
        bail!("the first try fails");
    }
    Ok(())
}

async fn fails(_: Context) -> TaskResult<()> {
    Err(FailWithoutRetry("it makes no sense to try again".to_owned()).into())
}
