//! New data starts a run: the streaming worker tells when it has committed files of a topic (`STREAMCOMMERCE_URL`). What a
//! run loads it finds in the manifests, as the flagship does; that something is new is a hint.

use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_new_files")
        .source(include_str!("new_files.rs"))
        .description("Runs when there are new transactions in the lake.")
        .tag("example")
        .schedule(Schedule::any_asset(["events_data/transactions"]))
        .max_active_runs(1);
    dag.task("look", look);
    dag
}

async fn look(_: Context) -> TaskResult<()> {
    tracing::info!("there are new transactions");
    Ok(())
}
