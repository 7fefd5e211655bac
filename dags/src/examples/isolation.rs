//! A task in a process of its own may block, or take the whole process down: its worker goes on.

use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_isolation")
        .source(include_str!("isolation.rs"))
        .description("Calls what may crash.")
        .tag("example");
    dag.task("where", whereabouts).isolation(Isolation::Process);
    dag
}

async fn whereabouts(_: Context) -> TaskResult<u32> {
    let process = std::process::id();
    tracing::info!("this is process {process}");
    Ok(process)
}
