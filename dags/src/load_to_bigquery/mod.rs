//! The flagship: what the streaming worker committed goes to BigQuery, every ten minutes, each row once.
//!
//! For each event `create_external >> create_native >> insert_into_native`, then dbt, then a reconciliation. The first
//! task plans the batch; all later ones, and all their tries, work on that plan.

mod batch;
mod plan;
mod sql;
mod warehouse;

use std::time::Duration;

use chrono::{TimeZone, Utc};
use lake::Event;
use operators::Dbt;
use orchestrator::prelude::*;

use self::{
    batch::{Batch, Loaded},
    warehouse::Warehouse,
};

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("load_to_bigquery")
        .source(include_str!("mod.rs"))
        .description("Loads what the streaming worker committed into BigQuery, and has dbt build production from it.")
        .schedule(Schedule::cron("*/10 * * * *"))
        .start_date(Utc.with_ymd_and_hms(2023, 1, 1, 0, 0, 0).single().unwrap_or_default())
        .catchup(false)
        .max_active_runs(1)
        .retries(2)
        .retry_delay(Duration::from_secs(10))
        .retry_exponential_backoff(2.0)
        .execution_timeout(Duration::from_secs(1_800))
        .tag("streamcommerce");

    let batches = Event::ALL.map(|event| {
        dag.task(&format!("create_external_{event}_table"), move |context: Context| create_external(context, event))
    });
    let inserts = Event::ALL.map(|event| {
        let native =
            dag.task(&format!("create_native_{event}_table"), move |context: Context| create_native(context, event));
        let batch = batches[event as usize];
        let insert = dag.task(&format!("insert_into_native_{event}_table"), insert_into_native.with(batch));
        dag.chain(batch >> native >> insert);
        insert
    });
    let dbt = dag.task("run_dbt_insert", Dbt::build());
    let [views, transactions, traffic, feedback] = batches;
    let reconciled = dag.task("reconcile", reconcile.with((views, transactions, traffic, feedback)));
    dag.chain(inserts >> dbt >> reconciled);
    dag
}

/// Plans the batch, and makes the external table over exactly its files.
async fn create_external(context: Context, event: Event) -> TaskResult<Batch> {
    let warehouse = Warehouse::from_env(context).await?;
    let ledger = warehouse.ledger(event).await?;
    let batch = plan::next_batch(&warehouse.lake().await?, event, &ledger).await?;
    if batch.files.is_empty() {
        tracing::info!("nothing new after batch {}", ledger.batch);
        return Ok(batch);
    }
    warehouse.create_external(&batch).await?;
    tracing::info!("batch {}: {} rows in {} files", batch.number, batch.rows, batch.files.len());
    Ok(batch)
}

async fn create_native(context: Context, event: Event) -> TaskResult<()> {
    Warehouse::from_env(context).await?.create_native(event).await
}

/// Loads the batch, unless it (or another one in its place) is loaded already.
async fn insert_into_native(context: Context, batch: Batch) -> TaskResult<Loaded> {
    if batch.files.is_empty() {
        tracing::info!("nothing to load");
        return Ok(Loaded { rows: 0 });
    }
    let winner = Warehouse::from_env(context).await?.load(&batch).await?;
    if winner != batch.id {
        tracing::info!("another run has loaded batch {} in the meantime; nothing to do", batch.number);
        return Ok(Loaded { rows: 0 });
    }
    tracing::info!("batch {} is loaded: {} rows", batch.number, batch.rows);
    Ok(Loaded { rows: batch.rows })
}

/// Holds the rows of the manifests against the rows in staging.
async fn reconcile(
    context: Context,
    views: Batch,
    transactions: Batch,
    traffic: Batch,
    feedback: Batch,
) -> TaskResult<()> {
    let warehouse = Warehouse::from_env(context).await?;
    let mut wrong = Vec::new();
    for batch in [views, transactions, traffic, feedback] {
        if batch.files.is_empty() {
            continue;
        }
        let staged = warehouse.count(&batch).await?;
        tracing::info!("{}: {} rows in the manifests, {staged} in staging", batch.event, batch.rows);
        if staged != batch.rows {
            wrong.push(format!("{}: {} rows in the manifests, {staged} in staging", batch.event, batch.rows));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(FailWithoutRetry(wrong.join("; ")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_follow_each_other_as_in_the_system_that_it_replaces() {
        let built = dag().build().unwrap();
        let graph = built.graph();
        let name = |node: &orchestrator::ids::Node| graph.task(*node).unwrap().task_id.to_string();
        let mut edges: Vec<_> = graph.edges().iter().map(|edge| (name(&edge.from), name(&edge.to))).collect();
        edges.sort();
        for event in Event::ALL {
            let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
            let [external, native] = ["external", "native"].map(|kind| format!("create_{kind}_{event}_table"));
            let insert = format!("insert_into_native_{event}_table");
            assert!(edges.contains(&edge(&external, &native)));
            assert!(edges.contains(&edge(&native, &insert)));
            assert!(edges.contains(&edge(&insert, "run_dbt_insert")));
        }
        assert_eq!(graph.tasks().len(), 14);
        assert_eq!(graph.leaves().iter().map(name).collect::<Vec<_>>(), ["reconcile"]);
    }
}
