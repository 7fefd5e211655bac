//! An asset joins two DAGs: when a task updates it, whoever waits for it runs.

use orchestrator::prelude::*;

const ORDERS: &str = "warehouse/example_orders";

pub(crate) fn dags() -> [Dag; 2] {
    let producer = Dag::new("example_asset_producer")
        .source(include_str!("assets.rs"))
        .description("Updates the orders.")
        .tag("example");
    producer.task("write", work).outlet(ORDERS);

    let consumer = Dag::new("example_asset_consumer")
        .source(include_str!("assets.rs"))
        .description("Runs when there are new orders, not when the clock says so.")
        .tag("example")
        .schedule(Schedule::any_asset([ORDERS]));
    consumer.task("read", work);
    [producer, consumer]
}

async fn work(_: Context) -> TaskResult<()> {
    Ok(())
}
