//! Why a task instance waits.

use orchestrator::{
    dag::{Graph, Past},
    engine::Gate,
    readiness::TriggerRule,
    state::TaskState,
    store::{
        pages::{
            dags,
            instances::InstanceListed,
            waits::{self, Slots},
        },
        pools,
    },
};
use sqlx::PgConnection;

use super::{NAMED, PAUSED, Why};

/// Why a task instance does not go on; none if it does, or has ended.
pub(crate) async fn of_instance(
    conn: &mut PgConnection,
    instance: &InstanceListed,
    graph: &Graph,
) -> sqlx::Result<Option<Why>> {
    let due = instance.due_at;
    Ok(Some(match instance.state {
        TaskState::None => before(conn, instance, graph).await?,
        TaskState::Queued => {
            let text = format!("It waits for a free slot of a worker with the queue {}.", instance.queue);
            Why::new("Task Instance Slots Available", text)
        }
        TaskState::UpForRetry => Why::until("Not In Retry Period", "Its next try is due at", due),
        TaskState::UpForReschedule => {
            Why::until("Ready To Reschedule", "It holds no slot meanwhile, and looks again at", due)
        }
        TaskState::Deferred => match &instance.awaits {
            Some(signal) => Why::until("Ready To Reschedule", format!("It waits for the signal {signal}, until"), due),
            None => Why::until("Ready To Reschedule", "It waits until", due),
        },
        TaskState::Restarting => {
            Why::new("Task Instance Not Running", "It was cleared while it ran; its worker stops it.")
        }
        TaskState::Scheduled => in_line(conn, instance, graph).await?,
        _ => return Ok(None),
    }))
}

/// What is before it in its run and has not ended.
async fn before(conn: &mut PgConnection, instance: &InstanceListed, graph: &Graph) -> sqlx::Result<Why> {
    let dependency = "Trigger Rule";
    let open = waits::unfinished(conn, instance.run_key, graph.upstream(instance.node), NAMED).await?;
    let task = graph.task(instance.node);
    if open.is_empty() {
        let text = match task.map_or(Past::Ignored, |task| task.past) {
            Past::Ignored => "It waits for the tasks before it.",
            Past::Itself => "It waits for the same task of the run before (depends_on_past).",
            Past::WithDownstream => "It waits for the tasks of the run before (wait_for_downstream).",
        };
        return Ok(Why::new(dependency, text));
    }
    let rule = task.map_or(TriggerRule::AllSuccess, |task| task.trigger_rule);
    Ok(Why::new(dependency, format!("It waits for the tasks before it ({}):", rule.as_str())).held_by(open))
}

async fn in_line(conn: &mut PgConnection, instance: &InstanceListed, graph: &Graph) -> sqlx::Result<Why> {
    let gate = instance.waits_for.as_ref();
    if gate.is_some_and(|gate| *gate == Gate::run()) {
        if dags::get(conn, &instance.dag_id).await?.is_some_and(|dag| dag.is_paused) {
            return Ok(Why::new("Dag Not Paused", PAUSED));
        }
        let holders = waits::holders(conn, Slots::Run(instance.run_key), NAMED).await?;
        let limit = graph.max_active_tasks();
        let text = format!("As many tasks of the run are active as the DAG lets: {limit} (max_active_tasks), as");
        return Ok(Why::new("Task Instance Slots Available", text).held_by(holders));
    }
    if !gate.is_some_and(Gate::is_pool) {
        let limit = graph.task(instance.node).and_then(|task| task.max_active_tis_per_dag).unwrap_or_default();
        let holders = waits::holders(conn, Slots::Task(&instance.dag_id, &instance.task_id), NAMED).await?;
        let text = format!("As many of this task are active as it lets: {limit} (max_active_tis_per_dag), as");
        return Ok(Why::new("Task Concurrency", text).held_by(holders));
    }
    let dependency = "Pool Slots Available";
    let Some(pool) = pools::list(conn, Some(&instance.pool)).await?.pop() else {
        return Ok(Why::new(dependency, format!("There is no pool {}.", instance.pool)));
    };
    let used = pool.running + pool.queued + if pool.include_deferred { pool.deferred } else { 0 };
    let text = format!("It waits for the pool {}: {used} of {} slots are used, by", pool.name, pool.slots);
    let holders = waits::holders(conn, Slots::Pool(&pool.name), NAMED).await?;
    Ok(Why::new(dependency, text).held_by(holders))
}
