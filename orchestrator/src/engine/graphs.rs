//! The graphs of the versions in use, read from Postgres once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use sqlx::PgConnection;

use crate::{dag::Graph, ids::VersionId, store};

/// A cache of immutable graphs. Cheap to clone; the clones share it.
#[derive(Clone, Debug, Default)]
pub struct Graphs(Arc<Mutex<HashMap<VersionId, Arc<Graph>>>>);

/// More versions than a deployment has in use at once; a cache that reached it starts again.
const GRAPHS_MAX: usize = 10_000;

impl Graphs {
    /// The graph of a version.
    ///
    /// # Errors
    /// The database is down, or what it holds is not a graph.
    pub async fn get(&self, conn: &mut PgConnection, version: VersionId) -> anyhow::Result<Arc<Graph>> {
        if let Some(graph) = self.known(version) {
            return Ok(graph);
        }
        let json = store::dags::graph(conn, version).await?;
        let graph = Graph::from_json(json).with_context(|| format!("the graph of version {version} cannot be read"))?;
        let graph = Arc::new(graph);
        let mut known = self.lock();
        if known.len() >= GRAPHS_MAX {
            known.clear();
        }
        known.insert(version, Arc::clone(&graph));
        Ok(graph)
    }

    /// Whether this binary can read the graph of a version; a newer one may have written it.
    ///
    /// # Errors
    /// The database is down.
    pub async fn can_read(&self, conn: &mut PgConnection, version: VersionId) -> anyhow::Result<bool> {
        match self.get(conn, version).await {
            Ok(_) => Ok(true),
            Err(error) if error.is::<sqlx::Error>() => Err(error),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a newer binary's?");
                Ok(false)
            }
        }
    }

    /// The graph of a version, if it has been read before.
    #[must_use]
    pub fn known(&self, version: VersionId) -> Option<Arc<Graph>> {
        self.lock().get(&version).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<VersionId, Arc<Graph>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
