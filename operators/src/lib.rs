//! Kinds of tasks, and the clients behind them. Each cloud is a feature.

#[cfg(feature = "bigquery")]
pub mod bigquery;
mod command;
mod dbt;
#[cfg(feature = "notify")]
pub mod notify;
mod wait_for;

pub use command::Command;
pub use dbt::Dbt;
pub use wait_for::WaitFor;
