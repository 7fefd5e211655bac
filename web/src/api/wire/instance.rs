//! Task instances. Their lists are long, so they are written from where they are, without a tree of values in between.

use chrono::{DateTime, Utc};
use orchestrator::{
    dag::{DEFAULT_POOL, Graph},
    ids::{DagId, RunId, TaskId, VersionId},
    state::TaskState,
    store::pages::instances::{InstanceListed, TryListed},
};
use serde::Serialize;
use uuid::Uuid;

use super::{BUNDLE, VERSION_SPACE, instant, maybe, seconds_between};

/// Airflow's `TaskInstanceResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct Instance<'i> {
    #[serde(flatten)]
    now: Try<'i>,
    /// A new try is a new id, as in Airflow.
    id: Uuid,
    logical_date: Option<String>,
    run_after: String,
    note: Option<&'i str>,
    rendered_map_index: Option<String>,
    rendered_fields: Nothing,
    trigger: (),
    triggerer_job: (),
}

/// Airflow's `TaskInstanceHistoryResponse`: what a task instance and its tries have in common.
#[derive(Debug, Serialize)]
pub(crate) struct Try<'i> {
    task_id: &'i TaskId,
    dag_id: &'i DagId,
    dag_run_id: &'i RunId,
    map_index: i32,
    start_date: Option<String>,
    end_date: Option<String>,
    duration: Option<f64>,
    state: Option<&'static str>,
    try_number: i32,
    max_tries: i32,
    task_display_name: &'i TaskId,
    dag_display_name: &'i DagId,
    hostname: &'i str,
    unixname: (),
    pool: &'i str,
    pool_slots: i32,
    queue: &'i str,
    priority_weight: i32,
    operator: Option<&'i str>,
    operator_name: Option<&'i str>,
    queued_when: Option<String>,
    scheduled_when: Option<String>,
    pid: Option<i32>,
    executor: (),
    executor_config: &'static str,
    dag_version: Version<'i>,
}

/// Airflow's `DagVersionResponse`.
#[derive(Debug, Serialize)]
pub(super) struct Version<'v> {
    id: Uuid,
    version_number: i32,
    dag_id: &'v str,
    bundle_name: &'static str,
    bundle_version: (),
    created_at: String,
    dag_display_name: &'v str,
    bundle_url: (),
}

/// An object without fields.
#[derive(Debug, Serialize)]
struct Nothing {}

impl<'i> Instance<'i> {
    /// That of a task instance, in the graph of its run's version.
    pub(crate) fn of(instance: &'i InstanceListed, graph: &'i Graph) -> Self {
        let number = instance.try_number.cast_unsigned().into();
        Self {
            now: Try::now(instance, graph),
            id: Uuid::from_u64_pair(number, instance.instance.0.cast_unsigned()),
            logical_date: maybe(instance.logical_date),
            run_after: instant(instance.run_after),
            note: instance.note.as_deref(),
            rendered_map_index: (instance.map_index >= 0).then(|| instance.map_index.to_string()),
            rendered_fields: Nothing {},
            trigger: (),
            triggerer_job: (),
        }
    }
}

impl<'i> Try<'i> {
    /// The latest one, as it is now.
    pub(crate) fn now(instance: &'i InstanceListed, graph: &'i Graph) -> Self {
        let task = graph.task(instance.node);
        let operator = task.map(|task| task.operator.as_str());
        Self {
            task_id: &instance.task_id,
            dag_id: &instance.dag_id,
            dag_run_id: &instance.run_id,
            map_index: instance.map_index,
            start_date: maybe(instance.start_date),
            end_date: maybe(instance.end_date),
            duration: seconds_between(instance.start_date, instance.end_date),
            state: Some(instance.state).filter(|state| *state != TaskState::None).map(TaskState::as_str),
            try_number: instance.try_number,
            max_tries: instance.max_tries,
            task_display_name: &instance.task_id,
            dag_display_name: &instance.dag_id,
            hostname: instance.hostname.as_deref().unwrap_or(""),
            unixname: (),
            pool: task.map_or(DEFAULT_POOL, |task| task.pool.as_str()),
            pool_slots: task.map_or(1, |task| task.pool_slots),
            queue: &instance.queue,
            priority_weight: instance.priority,
            operator,
            operator_name: operator,
            queued_when: maybe(instance.queued_at),
            scheduled_when: maybe(instance.queued_at),
            pid: instance.pid,
            executor: (),
            executor_config: "{}",
            dag_version: Version::of(
                instance.version,
                instance.version_number,
                instance.dag_id.as_str(),
                instance.version_created_at,
            ),
        }
    }

    /// One that has ended.
    pub(crate) fn ended(instance: &'i InstanceListed, ended: &'i TryListed, graph: &'i Graph) -> Self {
        // A try that was repeated failed; that it was repeated is told by the next one.
        let state = if ended.state == TaskState::UpForRetry { TaskState::Failed } else { ended.state };
        Self {
            start_date: Some(instant(ended.start_date)),
            end_date: Some(instant(ended.end_date)),
            duration: seconds_between(Some(ended.start_date), Some(ended.end_date)),
            state: Some(state.as_str()),
            try_number: ended.try_number,
            hostname: ended.hostname.as_deref().unwrap_or(""),
            pid: None,
            ..Self::now(instance, graph)
        }
    }
}

impl<'v> Version<'v> {
    pub(super) fn of(version: VersionId, number: i32, dag_id: &'v str, created_at: DateTime<Utc>) -> Self {
        Self {
            id: Uuid::from_u64_pair(VERSION_SPACE, version.0.cast_unsigned()),
            version_number: number,
            dag_id,
            bundle_name: BUNDLE,
            bundle_version: (),
            created_at: instant(created_at),
            dag_display_name: dag_id,
            bundle_url: (),
        }
    }
}
