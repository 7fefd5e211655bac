//! Duty: make a run for every slot that has come.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::{
    dag::{Graph, Registry},
    engine::{Graphs, Trigger, create_run},
    ids::{DagId, RunId},
    schedule::delay_within,
    state::RunType,
    store::{dags, runs},
};

/// Slots of one DAG in one pass, so that a long catchup does not keep the other DAGs waiting (Airflow's
/// `max_dagruns_to_create_per_loop`).
const SLOTS_PER_PASS: usize = 10;

/// How old the slot that is shown as the next one may be while its DAG has no room for a run: less than makes it late.
const NEXT_RUN_IS_NEWS: TimeDelta = TimeDelta::seconds(30);

pub(super) async fn run_once(
    conn: &mut PgConnection,
    registry: &Registry,
    graphs: &Graphs,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let mut created = 0;
    // A DAG that this binary does not have may be gone for good: nobody would run its tasks.
    for dag in dags::due(conn, now).await?.into_iter().filter(|dag| registry.get(dag).is_some()) {
        match create_due(conn, graphs, &dag, now).await {
            Ok(more) => created += more,
            Err(error) => tracing::error!(%dag, error = format!("{error:#}"), "cannot make its runs"),
        }
    }
    Ok(created)
}

/// Makes the runs of one DAG, under its lock: two schedulers at once make each slot's run once.
async fn create_due(conn: &mut PgConnection, graphs: &Graphs, dag: &DagId, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let mut tx = conn.begin().await?;
    let Some(row) = dags::lock_if_free(&mut tx, dag).await?.filter(|row| !row.is_paused) else { return Ok(0) };
    let graph = graphs.get(&mut tx, row.current_version_id).await?;
    let timetable = graph.schedule().parse()?;
    let mut room = i64::from(graph.max_active_runs()) - runs::count_active(&mut tx, dag).await?;
    let mut last = row.last_slot;
    // The slot that was written down stands: without a start date the first one is reckoned from the instant of the
    // registration, and reckoning it again would move it on for ever.
    let mut next = match (last, row.next_run_at) {
        (None, Some(first)) if graph.window().start.is_none() => Some(first),
        _ => timetable.next_slot(graph.window(), last, now),
    };
    let mut created = 0;
    for _ in 0..SLOTS_PER_PASS {
        let Some(slot) = next.filter(|slot| *slot <= now && room > 0) else { break };
        let made = create_run(&mut tx, graphs, row.current_version_id, &scheduled(&graph, slot), now).await?;
        created += u64::from(made.is_some());
        room -= i64::from(made.is_some());
        last = Some(slot);
        next = timetable.next_slot(graph.window(), last, now);
    }
    // A DAG at its max_active_runs stays due; to write that down again and again tells nobody anything.
    let is_due = |slot: Option<DateTime<Utc>>| slot.is_some_and(|slot| slot <= now);
    let was_due_lately = is_due(row.next_run_at) && row.next_run_at > Some(now - NEXT_RUN_IS_NEWS);
    if last != row.last_slot || (next != row.next_run_at && !(is_due(next) && was_due_lately)) {
        dags::set_slots(&mut tx, dag, last, next).await?;
    }
    tx.commit().await?;
    Ok(created)
}

fn scheduled(graph: &Graph, slot: DateTime<Utc>) -> Trigger {
    Trigger {
        dag_id: graph.dag_id().clone(),
        run_id: RunId::from(format!("scheduled__{}", slot.to_rfc3339_opts(SecondsFormat::AutoSi, false))),
        run_type: RunType::Scheduled,
        logical_date: Some(slot),
        data_interval: None,
        run_after: slot + graph.jitter().map_or(Duration::ZERO, |jitter| delay_within(jitter, graph.dag_id(), slot)),
        conf: json!({}),
        note: None,
        triggered_by: "timetable",
        triggering_user: None,
    }
}
