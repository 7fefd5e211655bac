//! What a worker does, step by step: claims and outcomes by hand.

use std::sync::Arc;

use orchestrator::{
    engine::{Abilities, Claimant, Ending, Outcome, settle},
    ids::ProcessId,
    process,
    store::{instances::Claim, processes::ProcessKind},
};

use super::world::World;

/// A worker that does nothing by itself.
pub async fn idle_worker(world: &World) -> ProcessId {
    process::register(&world.pool, ProcessKind::Worker, 8, process::Lease::default(), None).await.unwrap()
}

pub async fn claim(world: &World, worker: ProcessId) -> Vec<Claim> {
    let abilities = Abilities::of(Arc::clone(&world.registry));
    let claimant = Claimant { worker, abilities: &abilities, queues: &["default".to_owned()], free: 8 };
    let mut conn = world.pool.acquire().await.unwrap();
    settle(&mut conn, &world.graphs, Vec::new(), Some(claimant)).await.unwrap().claims
}

pub fn success(worker: ProcessId, claim: &Claim) -> Outcome {
    Outcome {
        instance: claim.instance,
        attempt: claim.attempt,
        worker,
        run_key: claim.run_key,
        run_day: claim.run_day,
        version: claim.version,
        node: claim.node,
        map_index: claim.map_index,
        ending: Ending::Success(serde_json::Value::Null.into()),
        skips: Vec::new(),
    }
}
