//! A task that says when it has begun, and waits until it may end.

use std::sync::Arc;

use orchestrator::prelude::*;
use tokio::sync::{Semaphore, watch};

use super::world::PATIENCE;

#[derive(Clone)]
pub struct Gate {
    begun: Arc<watch::Sender<usize>>,
    ends: Arc<Semaphore>,
}

impl Gate {
    pub fn closed() -> Self {
        Self { begun: Arc::new(watch::Sender::new(0)), ends: Arc::new(Semaphore::new(0)) }
    }

    /// A task of that DAG behind the gate.
    pub fn task<'d>(&self, dag: &'d Dag, name: &str) -> Task<'d, ()> {
        let gate = self.clone();
        dag.task(name, move |_: Context| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(())
            }
        })
    }

    /// Called by a body: has begun, and waits until it may end.
    pub async fn pass(&self) {
        self.begun.send_modify(|times| *times += 1);
        self.ends.acquire().await.unwrap().forget();
    }

    /// How many bodies have begun.
    pub fn times(&self) -> usize {
        *self.begun.borrow()
    }

    /// Waits until a body has begun: its row is `running` before that, from the claim on.
    pub async fn begun(&self) {
        let mut begun = self.begun.subscribe();
        let begun = tokio::time::timeout(PATIENCE, begun.wait_for(|times| *times > 0)).await;
        begun.expect("no body has begun").unwrap();
    }

    /// Lets so many bodies end.
    pub fn opens_for(&self, bodies: usize) {
        self.ends.add_permits(bodies);
    }
}
