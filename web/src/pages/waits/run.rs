//! Why a run does not go on.

use chrono::{DateTime, Utc};
use orchestrator::{
    dag::Graph,
    state::{RunState, RunType},
    store::{
        self,
        pages::{
            Page as Part, dags,
            instances::{self, InstanceColumn, InstanceFilter},
            runs::{self, RunColumn, RunFilter, RunListed},
            waits,
        },
    },
};
use sqlx::PgConnection;

use super::{NAMED, PAUSED, Why, of_instance};
use crate::pages::links;

/// What a run that does nothing is told to wait for, at most.
const REASONS: i64 = 3;

/// Why a run does not go on; nothing if it does, or has ended.
pub(crate) async fn of_run(
    conn: &mut PgConnection,
    run: &RunListed,
    graph: &Graph,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Why>> {
    if run.state.is_finished() {
        return Ok(Vec::new());
    }
    let is_paused = dags::get(conn, &run.dag_id).await?.is_some_and(|dag| dag.is_paused);
    match (run.state, is_paused) {
        (RunState::Running, true) => {
            let text = "Its DAG is paused: what runs goes on, and no other task begins.";
            Ok(vec![Why::new("Dag Not Paused", text)])
        }
        (RunState::Running, false) => of_running(conn, run, graph).await,
        (_, true) => Ok(vec![Why::new("Dag Not Paused", PAUSED)]),
        (_, false) if run.run_after > now => {
            Ok(vec![Why::until("Execution Date", "Its time comes", Some(run.run_after))])
        }
        (_, false) => Ok(vec![behind(conn, run, graph).await?]),
    }
}

/// If none of its tasks is at work: what those wait for that could be.
async fn of_running(conn: &mut PgConnection, run: &RunListed, graph: &Graph) -> sqlx::Result<Vec<Why>> {
    let mut reasons = Vec::new();
    for group in waits::of_run(conn, run.run_key, REASONS).await? {
        let filter = InstanceFilter::of_key(run.run_key).only(InstanceColumn::Key, group.first);
        let Some(instance) = instances::list(conn, &filter, Part { limit: 1, offset: 0 }).await?.rows.pop() else {
            continue;
        };
        let Some(mut why) = of_instance(conn, &instance, graph).await? else { continue };
        let others = match group.instances - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        why.text = format!("{}{others}: {}", instance.task_id, why.text);
        reasons.push(why);
    }
    Ok(reasons)
}

/// The runs that a queued one stands behind.
async fn behind(conn: &mut PgConnection, run: &RunListed, graph: &Graph) -> sqlx::Result<Why> {
    let dependency = "Dagrun Running";
    if run.run_type == RunType::Backfill {
        let text = "It waits for earlier runs of its backfill (max_active_runs), or for a scheduler.";
        return Ok(Why::new(dependency, text));
    }
    let (running, limit) = (store::runs::running(conn, &run.dag_id).await?, graph.max_active_runs());
    if running.len() < limit as usize {
        return Ok(Why::new(dependency, "It waits for a scheduler."));
    }
    let active = RunFilter::default().one_of(RunColumn::Key, running);
    let active = runs::list(conn, &active, Part { limit: NAMED, offset: 0 }).await?;
    let text = format!("As many runs of its DAG are running as may: {limit} (max_active_runs), as");
    let holders = active.rows.iter().map(|run| (links::run(&run.dag_id, &run.run_id), run.run_id.to_string()));
    Ok(Why { holders: holders.collect(), ..Why::new(dependency, text) })
}
