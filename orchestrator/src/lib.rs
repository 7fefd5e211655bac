//! The workflow engine: knows DAGs, time, states and Postgres. No HTTP, no HTML, no BigQuery, no Kafka.
//!
//! Read in this order: [`dag`] (what an author writes), [`state`] (the moves that a task can make), [`readiness`],
//! [`schedule`] and [`retry`] (the pure decisions), [`store`] (the only SQL), [`engine`] (what happens in one
//! transaction), then the processes: [`scheduler`] and [`worker`].

pub mod accounts;
pub mod commands;
pub mod context;
pub mod dag;
pub mod engine;
pub mod ids;
pub mod lookup;
pub mod notify;
pub mod overflow;
pub mod process;
pub mod readiness;
pub mod redact;
pub mod retention;
pub mod retry;
pub mod schedule;
pub mod scheduler;
pub mod secrets;
pub mod state;
pub mod store;
pub mod task_log;
pub mod template;
pub mod testing;
pub mod told;
pub mod wake;
pub mod worker;

/// What a DAG file needs.
pub mod prelude {
    pub use crate::{
        context::{Context, FailWithoutRetry, Skip, TaskResult},
        dag::{
            Branch, Dag, Expand, Group, Isolation, Operator, Poke, ShortCircuit, TakeInputs, Task, WeightRule, partial,
        },
        notify::{Deadline, Notice, Notifier},
        readiness::TriggerRule,
        retry::RetryPolicy,
        schedule::Schedule,
    };
}
