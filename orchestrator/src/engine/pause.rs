//! What pausing a DAG does to its runs that have started: no task instance passes the gate of its run, as in Airflow no
//! task of a paused DAG is queued (`SchedulerJobRunner._executable_task_instances_to_queued`). What is queued or runs
//! goes on.

use sqlx::PgConnection;

use super::{Freed, Gate, Graphs, move_on};
use crate::{
    ids::DagId,
    state::RunState,
    store::{
        admission,
        run_locks::{self, LockedRun},
        runs,
    },
};

/// What stands in line behind the gate of its run goes back there, for nothing would hold it. Hold the lock of the DAG,
/// which is paused.
///
/// # Errors
/// The database is down.
pub async fn hold_runs(conn: &mut PgConnection, graphs: &Graphs, dag: &DagId) -> anyhow::Result<()> {
    let mut freed = Freed::default();
    for run in lock_running(conn, dag).await? {
        let graph = graphs.get(conn, run.version).await?;
        for (node, gate) in admission::step_back(conn, run.run_key).await? {
            // At the gate of its pool it has passed that of its task.
            if let Some(task) = graph.task(node).filter(|task| gate == Gate::pool(&task.pool)) {
                freed.add_task(&graph, task);
            }
        }
    }
    move_on(conn, graphs, &[], freed).await?;
    Ok(())
}

/// What the pause has held goes on. Hold the lock of the DAG, which is paused no more.
///
/// # Errors
/// The database is down.
pub async fn let_runs_go(conn: &mut PgConnection, graphs: &Graphs, dag: &DagId) -> anyhow::Result<()> {
    let running = lock_running(conn, dag).await?;
    move_on(conn, graphs, &running, Freed::default()).await?;
    Ok(())
}

async fn lock_running(conn: &mut PgConnection, dag: &DagId) -> anyhow::Result<Vec<LockedRun>> {
    let mut locked = Vec::new();
    for run in runs::running(conn, dag).await? {
        locked.extend(run_locks::lock_waiting(conn, run).await?.filter(|run| run.state == RunState::Running));
    }
    Ok(locked)
}
