//! Duty: tell Postgres which DAGs this binary has. The same graph makes no new version.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sqlx::{Connection, PgConnection};

use crate::{
    dag::{Definition, Registry},
    engine::Gate,
    store::{self, assets, dags, slots},
};

/// Stores each DAG's graph as its current version, and its next slot.
///
/// # Errors
/// The database is down.
pub async fn register(conn: &mut PgConnection, registry: &Registry) -> anyhow::Result<()> {
    for definition in registry.definitions() {
        register_one(conn, definition)
            .await
            .with_context(|| format!("cannot register the dag {}", definition.graph().dag_id()))?;
    }
    Ok(())
}

async fn register_one(conn: &mut PgConnection, definition: &Definition) -> anyhow::Result<()> {
    let graph = definition.graph();
    let dag_id = graph.dag_id();
    let mut tx = conn.begin().await?;
    let version = dags::ensure_version(&mut tx, dag_id, &graph.hash(), &serde_json::to_value(&**graph)?).await?;
    dags::set_written(&mut tx, version, definition.written()).await?;
    dags::upsert(&mut tx, dag_id, version, graph.is_paused_upon_creation()).await?;
    let outlets = graph.tasks().iter().flat_map(|task| &task.outlets);
    let known: Vec<_> = graph.schedule().assets().iter().chain(outlets).cloned().collect();
    assets::register(&mut tx, dag_id, &known, graph.schedule().assets()).await?;
    // In the order of the gates, as everybody takes them.
    let limits = graph.tasks().iter().filter_map(|task| Gate::task(dag_id, task).zip(task.max_active_tis_per_dag));
    for (gate, total) in limits.collect::<BTreeMap<_, _>>() {
        // While the task had no limit, nobody counted it.
        if slots::set_total(&mut tx, &gate, total).await? {
            slots::recount(&mut tx, &gate).await?;
        }
    }
    if let Some(row) = dags::lock(&mut tx, dag_id).await? {
        let now = store::now(&mut tx).await?;
        let timetable = graph.schedule().parse()?;
        let next = timetable.upcoming(graph.window(), row.last_slot, row.next_run_at, now);
        dags::set_slots(&mut tx, dag_id, row.last_slot, next).await?;
    }
    tx.commit().await?;
    Ok(())
}
