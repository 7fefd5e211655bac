//! The runs that a transaction holds.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
};

use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::{graphs::Graphs, outcome::Outcome};
use crate::{
    dag::Graph,
    ids::{RunKey, VersionId},
    store::run_locks,
};

/// The runs that the transaction holds, and the graphs that they are under.
pub(super) struct Runs {
    held: HashMap<RunKey, VersionId>,
    graphs: BTreeMap<VersionId, Arc<Graph>>,
}

impl Runs {
    /// Reads the graphs of runs that the transaction holds.
    ///
    /// # Errors
    /// The database is down, or there is no such version.
    pub(super) async fn load(
        conn: &mut PgConnection,
        graphs: &Graphs,
        held: HashMap<RunKey, VersionId>,
    ) -> anyhow::Result<Self> {
        let mut loaded = BTreeMap::new();
        for version in held.values() {
            if let Entry::Vacant(empty) = loaded.entry(*version) {
                empty.insert(graphs.get(conn, *version).await?);
            }
        }
        Ok(Self { held, graphs: loaded })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = RunKey> {
        self.held.keys().copied()
    }

    pub(super) fn graph(&self, run: RunKey) -> anyhow::Result<&Graph> {
        let graph = self.held.get(&run).and_then(|version| self.graphs.get(version));
        graph.map(AsRef::as_ref).ok_or_else(|| anyhow::anyhow!("the run {run} is not held"))
    }
}

/// Begins the transaction, and locks the runs of the outcomes: one waiting, of several those that nobody else holds.
pub(super) async fn hold<'c>(
    conn: &'c mut PgConnection,
    outcomes: &[Outcome],
) -> sqlx::Result<(Transaction<'c, Postgres>, HashMap<RunKey, VersionId>)> {
    let versions: BTreeMap<_, _> = outcomes.iter().map(|outcome| (outcome.run_key, outcome.version)).collect();
    if versions.len() == 1
        && let Some((run, version)) = versions.first_key_value()
    {
        return Ok((run_locks::begin_holding(conn, *run).await?, HashMap::from([(*run, *version)])));
    }
    let mut tx = conn.begin().await?;
    let keys: Vec<_> = versions.keys().map(|run| run.0).collect();
    let held = run_locks::lock_idle(&mut tx, &keys).await?.into_iter().map(|run| (run.run_key, run.version)).collect();
    Ok((tx, held))
}
