//! The DAGs of StreamCommerce: one file each, and one line each in [`dags`].

mod hello;
mod load_to_bigquery;

use orchestrator::dag::Dag;

/// Every DAG.
#[must_use]
pub fn dags() -> Vec<Dag> {
    vec![load_to_bigquery::dag(), hello::dag()]
}
