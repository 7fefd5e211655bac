//! DAGs as Rust modules: what an author writes ([`Dag`], [`Task`], `>>`), and what the engine makes of it
//! ([`Definition`], [`Graph`]).

mod body;
mod chain;
mod check;
mod draft;
mod graph;
mod group;
mod mapping;
mod output;
mod params;
mod registry;
mod spec;
mod task;
#[cfg(test)]
mod tests;

pub use body::{
    Body, BodyFuture, Function, Input, InputTask, Inputs, IntoTask, Operator, OperatorKind, Parts, TakeInputs, With,
};
pub use chain::{Chain, Link};
pub use check::Fault;
pub use draft::Dag;
pub use graph::{Edge, Graph, NotAfter};
pub use group::{Each, Group};
pub use mapping::{Expand, Expanded, ExpandedWith, Item, OverInput, Partial, PartialExpanded, Source, partial};
pub use output::{Branch, Next, Output, Poke, Progress, Returned, ShortCircuit};
pub use params::{BadParams, Params, ParamsType};
pub use registry::{Definition, Registry, RegistryFaults, Written};
pub use spec::{
    DEFAULT_POOL, GroupIndex, GroupSpec, Isolation, Mapped, Over, Past, Role, SensorSpec, TaskSpec, WeightRule,
};
pub use task::Task;
