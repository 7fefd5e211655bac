//! The engine on a real Postgres, through its own doors: a scheduler's pass, a worker's life, the commands.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, reason = "tests")]

mod clearing;
mod faults;
mod runs;
mod schedules;
mod world;
