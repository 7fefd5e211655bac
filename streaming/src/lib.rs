//! Kafka → decode → validate → Parquet on Google Cloud Storage, exactly once as any reader of the bucket sees it; and
//! the simulated shop that produces the events.
//!
//! A record's way: [`worker`] polls it, [`range`] puts it into the open range of its Kafka partition, where
//! [`decode`] makes it a row of [`rows`] or a row of [`dead_letters`]; when the range closes, [`commit_log`] uploads,
//! commits and publishes it.

pub mod commit_log;
pub mod dead_letters;
pub mod decode;
pub mod kafka;
pub mod producer;
pub mod range;
pub mod rows;
pub mod settings;
pub mod shop;
pub mod topic_id;
pub mod worker;
