//! A limit: of five tasks, one at a time. Other limits are those of a pool (`streamcommerce` has `default_pool`; make
//! others in the API), of a DAG and of a run.

use std::time::Duration;

use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_pools")
        .source(include_str!("pools.rs"))
        .description("Five tasks, one of which is more important, and room for one.")
        .tag("example")
        .max_active_tasks(1);
    for name in ["a", "b", "c", "d"] {
        dag.task(name, work);
    }
    dag.task("first", work).priority_weight(10).pool("default_pool").pool_slots(2);
    dag
}

async fn work(_: Context) -> TaskResult<()> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}
