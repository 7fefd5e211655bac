//! The DAGs of StreamCommerce: one file each, and one line each in [`dags`].

mod hello;

use orchestrator::dag::Dag;

/// Every DAG.
#[must_use]
pub fn dags() -> Vec<Dag> {
    vec![hello::dag()]
}
