//! Kafka → decode → validate → Parquet on Google Cloud Storage, exactly once as any reader of the bucket sees it; and
//! the simulated shop that produces the events.
//!
//! A record's way: [`worker`] polls it, [`range`] puts it into the open range of its Kafka partition, where [`decode`]
//! makes it a row of [`rows`] or one of [`dead_letters`], encoded into a [file](mod@file); when the range closes, [`owned`] lets
//! [`commit_log`] upload, commit and publish it. Which partitions are ours is the matter of `assignment`; which columns
//! files may have, that of [`schemas`].

pub mod announce;
mod assignment;
mod broker;
pub mod commands;
pub mod commit_log;
pub mod dead_letters;
pub mod decode;
pub mod file;
pub mod http;
pub mod kafka;
mod lately;
pub mod metrics;
pub mod orchestrator;
pub mod owned;
mod patience;
pub mod producer;
pub mod range;
pub mod reporter;
pub mod rows;
pub mod schemas;
pub mod settings;
pub mod shop;
pub mod topic_id;
pub mod worker;
