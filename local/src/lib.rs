//! The local stack: real parts over real sockets, all on loopback, started in order, waited for by their health, and
//! stopped in reverse. `make up` runs it; the integration tests use the same code as their fixture.

pub mod bigquery;
pub mod child;
pub mod gcs;
pub mod kafka;
pub mod ports;
pub mod postgres;
pub mod python;
pub mod stack;
pub mod state;
pub mod up;
