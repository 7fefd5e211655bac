//! The contract of the bucket: which events there are and what their fields hold ([`event`]), what objects are called
//! ([`layout`]), and what the commit log says ([`manifest`]). Used by the streaming worker, which writes, and by the
//! load DAG, which reads. Pure: no client, no IO.

pub mod event;
pub mod layout;
pub mod manifest;

pub use event::{Event, Field, Kind};
pub use manifest::{Committed, Genesis, Manifest};
