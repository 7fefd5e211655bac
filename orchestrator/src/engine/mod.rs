//! What happens in one transaction: runs are made, attempts end, tasks become ready, runs finish.
//!
//! Locks, in this order: the `dag` row (only where runs are made or promoted, or it is paused), then runs by key, then the task instances of
//! the runs that are held, then the rows of `slots` by gate; after that only `SKIP LOCKED`. A transaction never locks another run later.

mod abilities;
mod admit;
mod advance;
mod callbacks;
mod claim;
mod create;
mod expand;
mod gate;
mod graphs;
mod held;
mod hop;
mod look_back;
mod move_on;
mod outcome;
mod pause;
mod redeploy;
mod settle;

pub use abilities::Abilities;
pub use advance::{At, Decided, Lengths, Steps, advance};
pub use callbacks::about_run;
pub use claim::Claimant;
pub use create::{Trigger, create_run};
pub use gate::{Freed, Gate};
pub use graphs::Graphs;
pub use hop::Hop;
pub use move_on::{move_on, repeat_due};
pub use outcome::{Ending, Outcome};
pub use pause::{hold_runs, let_runs_go};
pub use redeploy::redeploy;
pub use settle::{Settled, settle};
