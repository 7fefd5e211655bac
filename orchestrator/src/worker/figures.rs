//! What a worker tells of itself, in Prometheus' terms.

use prometheus_client::{
    metrics::{counter::Counter, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::engine::Settled;

/// The figures of the workers of this process; clones count together.
#[derive(Clone, Debug)]
pub struct Figures {
    hops: Histogram,
    settles: Counter,
    outcomes: Counter,
    stale: Counter,
}

impl Default for Figures {
    fn default() -> Self {
        // From what a commit takes at best to what people notice.
        let buckets = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        Self {
            hops: Histogram::new(buckets),
            settles: Counter::default(),
            outcomes: Counter::default(),
            stale: Counter::default(),
        }
    }
}

impl Figures {
    /// Names them in a registry.
    pub fn register(&self, registry: &mut Registry) {
        let hop = "From the end of a task to the start of what follows it";
        registry.register_with_unit("hop", hop, Unit::Seconds, self.hops.clone());
        registry.register(
            "settles",
            "Transactions that recorded outcomes and claimed what follows",
            self.settles.clone(),
        );
        registry.register("outcomes", "Outcomes of task instances that were recorded", self.outcomes.clone());
        let stale = "Outcomes that were refused: the try was somebody else's by then";
        registry.register("stale_outcomes", stale, self.stale.clone());
    }

    /// A settle of `outcomes` task instances took so long, from their end until what follows was started.
    pub(super) fn settled(&self, outcomes: usize, settled: &Settled, took: std::time::Duration) {
        if outcomes == 0 {
            return;
        }
        self.settles.inc();
        self.outcomes.inc_by(outcomes as u64 - settled.stale.len() as u64);
        self.stale.inc_by(settled.stale.len() as u64);
        if !settled.claims.is_empty() {
            self.hops.observe(took.as_secs_f64());
        }
    }
}
