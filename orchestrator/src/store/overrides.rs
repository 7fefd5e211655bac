//! `task_instance`: what people (and the limits that they set) say about states, against what happened. All of it under
//! the run's lock, and followed by [`recount`](super::nodes::recount).

use sqlx::PgConnection;

use crate::{
    engine::Gate,
    ids::{InstanceKey, Node, RunId, RunKey, TaskId},
    state::TaskState,
};

/// A task instance that a command looks at.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The task instance.
    pub instance: InstanceKey,
    /// The id of its run.
    pub run_id: RunId,
    /// Its node.
    pub node: Node,
    /// Its task.
    pub task_id: TaskId,
    /// Its index in a mapped task.
    pub map_index: i32,
    /// Where it is.
    pub state: TaskState,
    /// At which gate it stands in line, if it is scheduled.
    pub waits_for: Option<Gate>,
}

/// Locks the task instances of a run, after the run itself: a claim may change a row without the run's lock.
///
/// # Errors
/// The database is down.
pub async fn lock_of_run(conn: &mut PgConnection, run: RunKey) -> sqlx::Result<Vec<Chosen>> {
    sqlx::query_as!(
        Chosen,
        r#"select t.instance_key as "instance: InstanceKey", r.run_id as "run_id: RunId", t.node as "node: Node",
                  t.task_id as "task_id: TaskId", t.map_index, t.state as "state: TaskState",
                  t.waits_for as "waits_for: Gate"
           from task_instance t join dag_run r using (run_key)
           where t.run_key = $1 order by t.instance_key for no key update of t"#,
        run.0
    )
    .fetch_all(conn)
    .await
}

/// Takes task instances back to the beginning, with as many tries as their retries allow from here on; one that runs
/// becomes `restarting`, and its worker stops it.
///
/// # Errors
/// The database is down.
pub async fn clear(conn: &mut PgConnection, instances: &[InstanceKey], retries: &[i32]) -> sqlx::Result<()> {
    let instances: Vec<_> = instances.iter().map(|instance| instance.0).collect();
    sqlx::query!(
        "update task_instance t
         set state = case when t.state = 'running' then 'restarting'::task_state else 'none' end,
             max_tries = t.try_number + c.retries,
             due_at = null, awaits = null, queued_at = null, waits_for = null, first_poke_at = null,
             start_date = case when t.state = 'running' then t.start_date end,
             end_date = null
         from unnest($1::bigint[], $2::int[]) as c(instance_key, retries)
         where t.instance_key = c.instance_key and t.state <> 'restarting'",
        &instances,
        retries
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A state that a task instance is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The task instance.
    pub instance: InstanceKey,
    /// The state, one that is finished.
    pub state: TaskState,
}

/// What becomes of task instances when people say how their run ended: what has begun ends so, what else has not ended is
/// skipped. Airflow's `set_dag_run_state_to_success` and `…_to_failed`.
#[must_use]
pub fn cut_off(instances: &[Chosen], then: TaskState) -> Vec<Verdict> {
    let has_begun = |state| runs(state) || matches!(state, TaskState::UpForReschedule | TaskState::Deferred);
    verdicts(instances, has_begun, then)
}

/// What becomes of them when a run is to fail fast: what runs has failed, what else has not ended is skipped (`airflow.md`
/// 5.2).
#[must_use]
pub fn failed_fast(instances: &[Chosen]) -> Vec<Verdict> {
    verdicts(instances, runs, TaskState::Failed)
}

fn runs(state: TaskState) -> bool {
    matches!(state, TaskState::Running | TaskState::Restarting)
}

/// Those of which `ends` is true end as `then`, what else has not ended is skipped.
fn verdicts(instances: &[Chosen], ends: impl Fn(TaskState) -> bool, then: TaskState) -> Vec<Verdict> {
    let unfinished = instances.iter().filter(|instance| !instance.state.is_finished());
    let verdict = |state| if ends(state) { then } else { TaskState::Skipped };
    unfinished.map(|instance| Verdict { instance: instance.instance, state: verdict(instance.state) }).collect()
}

/// Gives task instances a state that they did not come to by themselves. The attempt of one that runs ends here, with
/// `cause`: its worker finds that it holds nothing any more, stops the body, and a late result is refused.
///
/// # Errors
/// The database is down.
pub async fn force(conn: &mut PgConnection, verdicts: &[Verdict], cause: &str) -> sqlx::Result<()> {
    let (instances, states): (Vec<_>, Vec<_>) =
        verdicts.iter().map(|verdict| (verdict.instance.0, verdict.state)).unzip();
    sqlx::query!(
        "with verdict as (
             select t.instance_key, v.state, t.attempt, t.worker_id, t.try_number, t.start_date, r.run_day
             from unnest($1::bigint[], $2::task_state[]) as v(instance_key, state)
             join task_instance t using (instance_key) join dag_run r using (run_key)
         ), tried as (
             insert into task_try (run_day, instance_key, try_number, attempt, state, start_date, end_date, worker_id,
                                   cause)
             select run_day, instance_key, try_number, attempt, state, start_date, statement_timestamp(), worker_id, $3
             from verdict where attempt is not null
         )
         update task_instance t
         set state = v.state, start_date = coalesce(t.start_date, statement_timestamp()), end_date = statement_timestamp(), due_at = null, awaits = null,
             waits_for = null, attempt = null, worker_id = null
         from verdict v where t.instance_key = v.instance_key",
        &instances,
        &states as &[TaskState],
        cause
    )
    .execute(conn)
    .await?;
    Ok(())
}
