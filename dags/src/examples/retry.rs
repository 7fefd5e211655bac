//! A task that fails: look at its log, clear it, and it succeeds. What comes after it waits, and then runs.

use anyhow::bail;
use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_retry")
        .source(include_str!("retry.rs"))
        .description("Fails at the first try, succeeds when it is cleared.")
        .tag("example")
        .retries(0);
    dag.chain(dag.task("ok", ok) >> dag.task("boom", boom) >> dag.task("after", ok));
    dag
}

async fn ok(_: Context) -> TaskResult<()> {
    Ok(())
}

async fn boom(context: Context) -> TaskResult<()> {
    if context.try_number() == 1 {
        bail!("boom on purpose");
    }
    Ok(())
}
