//! Typed data: a task is an async function, its handle stands for what it returns, and `load` does not compile with
//! anything else than what `transform` returns.

use orchestrator::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Extracted {
    rows: usize,
}

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_etl")
        .source(include_str!("etl.rs"))
        .description("Extracts, transforms, loads.")
        .tag("example");
    let extracted = dag.task("extract", extract);
    let transformed = dag.task("transform", transform.with(extracted));
    dag.task("load", load.with(transformed));
    dag
}

async fn extract(_: Context) -> TaskResult<Extracted> {
    let rows = 3;
    tracing::info!("extracted {rows} rows");
    Ok(Extracted { rows })
}

async fn transform(_: Context, extracted: Extracted) -> TaskResult<Vec<String>> {
    Ok((1..=extracted.rows).map(|row| format!("row {row}")).collect())
}

async fn load(_: Context, rows: Vec<String>) -> TaskResult<()> {
    tracing::info!("loaded {} rows", rows.len());
    Ok(())
}
