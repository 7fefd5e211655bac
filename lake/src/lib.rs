//! The contract of the bucket: which events there are and what their fields hold ([`event`]), which changes of them
//! readers can bear ([`schema`]), what objects are called ([`layout`]), what the commit log says ([`manifest`]), and what
//! a worker tells of itself ([`report`]). Used by the streaming worker, which writes, by the load DAG, which reads, and by
//! the page that shows both. Pure: no client, no IO.

pub mod event;
pub mod layout;
pub mod manifest;
pub mod report;
pub mod schema;

pub use event::{Event, Field, Kind};
pub use manifest::{Committed, Genesis, Manifest};
pub use schema::Schema;
