//! A batch: exactly these files, of exactly these offsets, after exactly that state of the ledger.

use std::collections::BTreeMap;

use lake::Event;
use serde::{Deserialize, Serialize};

/// Up to where each Kafka partition is loaded.
pub(super) type Offsets = BTreeMap<i32, i64>;

/// What the warehouse says is loaded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ledger {
    pub(super) batch: i64,
    /// The incarnation of the topic that the offsets are of; none before the first batch.
    pub(super) epoch: Option<u32>,
    pub(super) offsets: Offsets,
}

/// What the ledger's `offsets` column holds, as JSON; an empty object before the first batch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LoadedUpTo {
    pub(super) epoch: Option<u32>,
    pub(super) offsets: Offsets,
}

/// What a run loads of one event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) event: Event,
    /// The number that the ledger has before it, and the one that it has after.
    pub(super) old: i64,
    pub(super) number: i64,
    /// Names its contents: two plans of the same files are the same batch.
    pub(super) id: String,
    pub(super) files: Vec<String>,
    pub(super) rows: u64,
    pub(super) ranges: Vec<Range>,
    pub(super) epoch: u32,
    /// The ledger's offsets after it.
    pub(super) offsets: Offsets,
}

/// Offsets of one Kafka partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) partition: i32,
    pub(super) start: i64,
    pub(super) end: i64,
}

/// How many rows a run loaded itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Loaded {
    pub(super) rows: u64,
}
