//! The engine on a real Postgres, through its own doors: a scheduler's pass, a worker's life, the commands.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, reason = "tests")]

mod agreement;
mod assets;
mod backfilling;
mod big_results;
mod by_hand;
mod callbacks;
mod choices;
mod clearing;
mod deferring;
mod deploys;
mod faults;
mod gate;
mod hops;
mod isolation;
mod keeping;
mod limits;
mod looking_back;
mod lookups;
mod mapping;
mod model;
mod pausing;
mod plans;
mod races;
mod redeploying;
mod runs;
mod schedules;
mod sensors;
mod silence;
mod world;
