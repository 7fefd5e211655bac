//! The DAGs of StreamCommerce: one file each, and one line each in [`dags`].

mod examples;
mod hello;
mod load_to_bigquery;

use orchestrator::dag::Dag;

pub use examples::examples;

/// Every DAG.
#[must_use]
pub fn dags() -> Vec<Dag> {
    vec![load_to_bigquery::dag(), hello::dag()]
}
