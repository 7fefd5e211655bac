//! The DAGs of StreamCommerce: one file each, and one line each in [`dags`].

mod examples;
mod hello;
mod load_to_bigquery;

use orchestrator::dag::Dag;

pub use examples::examples;

/// What the documents show is compiled.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    mod readme {}
    #[doc = include_str!("../../docs/coming-from-airflow.md")]
    mod coming_from_airflow {}
}

/// Every DAG.
#[must_use]
pub fn dags() -> Vec<Dag> {
    vec![load_to_bigquery::dag(), hello::dag()]
}
