//! How things are written on the wire. Fields and their order are those of Airflow's schemas; what we do not have yet
//! has the value that Airflow gives to a DAG that does not use it.

mod dag;
mod instance;
mod run;

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Timelike, Utc};
use orchestrator::{
    dag::{Graph, Past, TaskSpec},
    ids::{DagId, Node, VersionId},
    schedule::Schedule,
    store::pages::{
        assets::{AssetListed, EventListed as AssetEventListed, MadeRun, Producer, QueuedListed},
        dags::DagListed,
        events::EventListed,
        processes::ProcessListed,
        runs::RunListed,
        xcoms::XcomListed,
    },
    store::processes::ProcessKind,
};
use serde_json::{Value, json};

use self::instance::Version;
pub(crate) use self::{
    dag::Dag,
    instance::{Instance, Try},
    run::Run,
};
use super::jobs;

/// RFC 3339 in UTC: no fraction, or six digits of it.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    let format = if at.nanosecond() < 1_000 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    at.to_rfc3339_opts(format, true)
}

fn maybe(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(instant)
}

fn seconds_between(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Option<f64> {
    Some((to? - from?).num_microseconds()? as f64 / 1e6)
}

pub(crate) fn dag(dag: &DagListed, graph: &Graph) -> Value {
    json!(Dag::of(dag, graph))
}

/// Airflow's `DAGDetailsResponse`: the DAG, and more.
pub(crate) fn dag_details(listed: &DagListed, graph: &Graph, active_runs: i64, is_favorite: bool) -> Value {
    let mut details = dag(listed, graph);
    let more = json!({
        "catchup": graph.window().catchup, "dag_run_timeout": graph.dagrun_timeout().map(time_delta), "asset_expression": asset_expression(graph.schedule()), "doc_md": null,
        "start_date": maybe(graph.window().start), "end_date": maybe(graph.window().end),
        "is_paused_upon_creation": graph.is_paused_upon_creation(), "params": params(graph),
        "render_template_as_native_obj": false, "template_search_path": null, "timezone": "UTC",
        "last_parsed": instant(listed.last_registered_at), "default_args": null, "rerun_with_latest_version": null,
        "owner_links": {}, "is_favorite": is_favorite, "active_runs_count": active_runs, "concurrency": graph.max_active_tasks(),
        "latest_dag_version":
            version(listed.version, listed.version_number, listed.dag_id.as_str(), listed.last_registered_at),
    });
    if let (Value::Object(details), Value::Object(more)) = (&mut details, more) {
        details.extend(more);
    }
    details
}

/// The assets that a DAG runs on, in Airflow's words; nothing, if it runs by the clock.
fn asset_expression(schedule: &Schedule) -> Value {
    let each = |assets: &[String]| {
        let asset = |name: &String| json!({ "asset": { "uri": name, "name": name, "group": "asset" } });
        assets.iter().map(asset).collect::<Vec<_>>()
    };
    match schedule {
        Schedule::AllAssets { assets } => json!({ "all": each(assets) }),
        Schedule::AnyAsset { assets } => json!({ "any": each(assets) }),
        _ => Value::Null,
    }
}

/// Each param with its schema, as Airflow serialises its `Param`s.
fn params(graph: &Graph) -> Value {
    let Some(params) = graph.params() else { return json!({}) };
    let properties = params.schema()["properties"].as_object().cloned().unwrap_or_default();
    let names: std::collections::BTreeSet<_> = properties.keys().chain(params.defaults().keys()).collect();
    let param = |name: &String| {
        let schema = properties.get(name).cloned().unwrap_or_else(|| json!({}));
        let (value, description) = (params.defaults().get(name), schema["description"].clone());
        (name.clone(), json!({ "value": value, "schema": schema, "description": description, "source": null }))
    };
    names.into_iter().map(param).collect::<serde_json::Map<_, _>>().into()
}

pub(crate) fn version(version: VersionId, number: i32, dag_id: &str, created_at: DateTime<Utc>) -> Value {
    json!(Version::of(version, number, dag_id, created_at))
}

/// Airflow's `EventLogResponse`.
pub(crate) fn event(event: &EventListed) -> Value {
    json!({
        "event_log_id": event.event_id, "when": instant(event.happened_at), "dag_id": event.dag_id,
        "task_id": event.task_id.as_ref().map_or(event.extra["task_id"].as_str(), |task| Some(task.as_str())),
        "run_id": event.run_id, "map_index": event.extra["map_index"].as_i64(), "try_number": null,
        "event": event.event, "logical_date": null, "owner": event.owner, "extra": event.extra.to_string(),
        "dag_display_name": event.dag_id, "task_display_name": event.task_id,
    })
}

/// Airflow's `AssetResponse`. An asset is known by its name alone, which is its address as well.
pub(crate) fn asset(asset: &AssetListed, producers: &[Producer], waiting: &[(String, DagId)]) -> Value {
    let at = instant(asset.created_at);
    let producing = producers.iter().filter(|producer| producer.asset == asset.name).map(|producer| {
        json!({ "dag_id": producer.dag_id, "task_id": producer.task_id, "created_at": at, "updated_at": at })
    });
    let scheduled = waiting.iter().filter(|(name, _)| *name == asset.name);
    let scheduled = scheduled.map(|(_, dag)| json!({ "dag_id": dag, "created_at": at, "updated_at": at }));
    json!({
        "id": asset.asset_id, "name": asset.name, "uri": asset.name, "group": "asset", "extra": {}, "created_at": at,
        "updated_at": at, "scheduled_dags": scheduled.collect::<Vec<_>>(),
        "producing_tasks": producing.collect::<Vec<_>>(), "consuming_tasks": [], "aliases": [], "watchers": [],
        "last_asset_event": asset.last_event.map(|id| json!({ "id": id, "timestamp": maybe(asset.last_event_at) })),
    })
}

/// Airflow's `AssetEventResponse`.
pub(crate) fn asset_event(event: &AssetEventListed, made: &[MadeRun]) -> Value {
    let runs = made.iter().filter(|run| run.event_id == event.event_id).map(|run| {
        json!({
            "run_id": run.run_id, "dag_id": run.dag_id, "logical_date": maybe(run.logical_date),
            // Airflow wants an instant here, also of a run that waits.
            "start_date": instant(run.start_date.unwrap_or(run.queued_at)), "end_date": maybe(run.end_date),
            "state": run.state.as_str(), "data_interval_start": maybe(run.data_interval_start),
            "data_interval_end": maybe(run.data_interval_end), "partition_key": null, "triggering": true,
        })
    });
    json!({
        "id": event.event_id, "asset_id": event.asset_id, "uri": event.asset, "name": event.asset, "group": "asset",
        "extra": event.extra, "source_task_id": event.source_task_id, "source_dag_id": event.source_dag_id,
        "source_run_id": event.source_run_id, "source_map_index": event.source_map_index.unwrap_or(-1),
        "created_dagruns": runs.collect::<Vec<_>>(), "timestamp": instant(event.happened_at), "partition_key": null,
    })
}

/// Airflow's `QueuedEventResponse`.
pub(crate) fn queued_event(event: &QueuedListed) -> Value {
    json!({
        "dag_id": event.dag_id, "asset_id": event.asset_id, "created_at": instant(event.happened_at),
        "dag_display_name": event.dag_id,
    })
}

/// Airflow's `JobResponse`.
pub(crate) fn job(process: &ProcessListed) -> Value {
    let is_alive = process.state == "alive";
    let kind = match process.kind {
        ProcessKind::Scheduler => "SchedulerJob",
        ProcessKind::Worker => "WorkerJob",
        ProcessKind::Web => "WebJob",
    };
    json!({
        "id": process.number, "dag_id": null, "job_type": kind,
        "state": jobs::STATES.iter().find(|(_, ours)| *ours == process.state).map(|(name, _)| name),
        "start_date": instant(process.started_at),
        "end_date": (!is_alive).then(|| instant(process.heartbeat_at)),
        "latest_heartbeat": instant(process.heartbeat_at), "executor_class": null, "hostname": process.hostname,
        "unixname": null, "dag_display_name": null,
    })
}

/// Where every DAG comes from, in Airflow's words: the program that it is compiled into.
pub(crate) const BUNDLE: &str = "streamcommerce";

/// What tells the ids that we derive from our keys from other ids.
const VERSION_SPACE: u64 = 0x5c00_0000_0000_8001;

/// Airflow's `TaskResponse`.
pub(crate) fn task(graph: &Graph, node: Node, task: &TaskSpec) -> Value {
    let name = |node: &Node| graph.task(*node).map(|task| task.task_id.to_string());
    let downstream: Vec<_> = graph.downstream(node).iter().filter_map(name).collect();
    let id = task.task_id.as_str();
    json!({
        "task_id": id, "task_display_name": id, "owner": graph.owner(), "start_date": maybe(graph.window().start),
        "end_date": maybe(graph.window().end), "trigger_rule": task.trigger_rule.as_str(), "depends_on_past": task.past != Past::Ignored,
        "wait_for_downstream": task.past == Past::WithDownstream, "retries": f64::from(task.retry.retries), "queue": task.queue,
        "pool": task.pool, "pool_slots": f64::from(task.pool_slots), "execution_timeout": task.execution_timeout.map(time_delta),
        "retry_delay": time_delta(task.retry.delay), "retry_exponential_backoff": task.retry.backoff.unwrap_or(0.0),
        "priority_weight": f64::from(task.priority_weight), "weight_rule": task.weight_rule.as_str(), "ui_color": "#fff",
        "ui_fgcolor": "#000", "template_fields": [], "downstream_task_ids": downstream, "doc_md": null,
        "operator_name": task.operator, "params": params(graph), "is_mapped": graph.mapped(node).is_some(), "extra_links": [],
        "class_ref": { "module_path": null, "class_name": task.operator },
    })
}

/// Airflow's `TimeDelta`.
fn time_delta(duration: Duration) -> Value {
    let seconds = duration.as_secs();
    json!({
        "__type": "TimeDelta", "days": seconds / 86_400, "seconds": seconds % 86_400,
        "microseconds": duration.subsec_micros(),
    })
}

/// Airflow's `DAGRunResponse`.
pub(crate) fn run(run: &RunListed) -> Value {
    json!(Run::from(run))
}

/// Airflow's `XComResponse`: without the value.
pub(crate) fn xcom(xcom: &XcomListed) -> Value {
    json!({
        "key": xcom.key, "timestamp": instant(xcom.written_at), "logical_date": maybe(xcom.logical_date),
        "map_index": xcom.map_index, "task_id": xcom.task_id, "dag_id": xcom.dag_id, "run_id": xcom.run_id,
        "dag_display_name": xcom.dag_id, "task_display_name": xcom.task_id, "run_after": instant(xcom.run_after),
    })
}
