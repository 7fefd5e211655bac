//! Why something waits, in a sentence.

use chrono::{DateTime, Utc};
use orchestrator::{
    engine::Gate,
    state::{RunState, TaskState},
    store::{
        pages::{
            dags,
            instances::{self, InstanceListed},
            runs::RunListed,
        },
        pools,
    },
};
use sqlx::PgConnection;

use super::{
    links,
    words::{Moment, away, plain},
};
use crate::auth;

/// Those who hold what something waits for, as many as are named.
const NAMED: i64 = 5;

const PAUSED: &str = "It waits until the DAG is unpaused.";

/// Why, and who holds what it waits for.
pub(crate) struct Why {
    /// What Airflow calls the dependency that is not met (`ti_deps/deps`).
    pub(crate) dependency: &'static str,
    pub(crate) text: String,
    pub(crate) holders: Vec<(String, String)>,
}

impl Why {
    fn new(dependency: &'static str, text: impl Into<String>) -> Self {
        Self { dependency, text: text.into(), holders: Vec::new() }
    }
}

/// Why a run does not go on; none if it does, or has ended.
pub(crate) async fn of_run(conn: &mut PgConnection, run: &RunListed, now: DateTime<Utc>) -> sqlx::Result<Option<Why>> {
    if run.state.is_finished() {
        return Ok(None);
    }
    let is_paused = dags::get(conn, &run.dag_id).await?.is_some_and(|dag| dag.is_paused);
    if run.state == RunState::Running {
        let text = "Its DAG is paused: what runs goes on, and no other task begins.";
        return Ok(is_paused.then(|| Why::new("Dag Not Paused", text)));
    }
    Ok(Some(match (is_paused, run.run_after > now) {
        (true, _) => Why::new("Dag Not Paused", PAUSED),
        (false, true) => Why::new("Execution Date", format!("Its time comes {}.", away(run.run_after, now))),
        (false, false) => {
            Why::new("Dagrun Running", "It waits for the runs before it (max_active_runs), or for a scheduler.")
        }
    }))
}

/// Why a task instance does not go on.
pub(crate) async fn of_instance(
    conn: &mut PgConnection,
    instance: &InstanceListed,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Why>> {
    let due =
        || instance.due_at.map_or_else(String::new, |at| format!("{} ({})", plain(Moment(Some(at))), away(at, now)));
    Ok(Some(match instance.state {
        TaskState::None => Why::new("Trigger Rule", "It waits for the tasks before it."),
        TaskState::Queued => {
            let text = format!("It waits for a free slot of a worker with the queue {}.", instance.queue);
            Why::new("Task Instance Slots Available", text)
        }
        TaskState::UpForRetry => Why::new("Not In Retry Period", format!("Its next try is due at {}.", due())),
        TaskState::UpForReschedule => {
            Why::new("Ready To Reschedule", format!("It looks again at {}; it holds no slot meanwhile.", due()))
        }
        TaskState::Deferred => Why::new(
            "Ready To Reschedule",
            match &instance.awaits {
                Some(signal) => format!("It waits for the signal {signal}, until {}.", due()),
                None => format!("It waits until {}.", due()),
            },
        ),
        TaskState::Restarting => {
            Why::new("Task Instance Not Running", "It was cleared while it ran; its worker stops it.")
        }
        TaskState::Scheduled => in_line(conn, instance).await?,
        _ => return Ok(None),
    }))
}

async fn in_line(conn: &mut PgConnection, instance: &InstanceListed) -> sqlx::Result<Why> {
    let gate = instance.waits_for.as_ref();
    if gate.is_some_and(|gate| *gate == Gate::run()) {
        if dags::get(conn, &instance.dag_id).await?.is_some_and(|dag| dag.is_paused) {
            return Ok(Why::new("Dag Not Paused", PAUSED));
        }
        let text = "As many tasks of the run are active as the DAG lets (max_active_tasks).";
        return Ok(Why::new("Task Instance Slots Available", text));
    }
    if !gate.is_some_and(Gate::is_pool) {
        let text = "As many of this task are active as it lets (max_active_tis_per_dag).";
        return Ok(Why::new("Task Concurrency", text));
    }
    let dependency = "Pool Slots Available";
    let Some(pool) = pools::list(conn, Some(&instance.pool)).await?.pop() else {
        return Ok(Why::new(dependency, format!("There is no pool {}.", instance.pool)));
    };
    let used = pool.running + pool.queued + if pool.include_deferred { pool.deferred } else { 0 };
    let text = format!("It waits for the pool {}: {used} of {} slots are used, by", pool.name, pool.slots);
    let holders = instances::holders(conn, &pool.name, NAMED).await?.into_iter();
    let holders = holders.filter(|holder| auth::sees_dag(&holder.dag_id)).map(|holder| {
        let name = format!("{}.{}", holder.dag_id, holder.task_id);
        (links::task(&holder.dag_id, &holder.run_id, &holder.task_id, holder.map_index), name)
    });
    Ok(Why { dependency, text, holders: holders.collect() })
}
