//! Runs, whose lists are long, too.

use orchestrator::{
    ids::{DagId, RunId},
    store::pages::runs::RunListed,
};
use serde::Serialize;
use serde_json::Value;

use super::{Version, instant, maybe, seconds_between};

/// Airflow's `DAGRunResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct Run<'r> {
    dag_run_id: &'r RunId,
    dag_id: &'r DagId,
    logical_date: Option<String>,
    queued_at: String,
    start_date: Option<String>,
    end_date: Option<String>,
    duration: Option<f64>,
    data_interval_start: Option<String>,
    data_interval_end: Option<String>,
    run_after: String,
    last_scheduling_decision: Option<String>,
    run_type: &'static str,
    state: &'static str,
    triggered_by: &'r str,
    triggering_user_name: Option<&'r str>,
    conf: &'r Value,
    note: Option<&'r str>,
    dag_versions: [Version<'r>; 1],
    bundle_version: (),
    dag_display_name: &'r DagId,
    partition_key: (),
    partition_date: (),
}

impl<'r> From<&'r RunListed> for Run<'r> {
    fn from(run: &'r RunListed) -> Self {
        Self {
            dag_run_id: &run.run_id,
            dag_id: &run.dag_id,
            logical_date: maybe(run.logical_date),
            queued_at: instant(run.queued_at),
            start_date: maybe(run.start_date),
            end_date: maybe(run.end_date),
            duration: seconds_between(run.start_date, run.end_date),
            data_interval_start: maybe(run.data_interval_start),
            data_interval_end: maybe(run.data_interval_end),
            run_after: instant(run.run_after),
            last_scheduling_decision: maybe(run.start_date),
            run_type: run.run_type.as_str(),
            state: run.state.as_str(),
            triggered_by: &run.triggered_by,
            triggering_user_name: run.triggering_user.as_deref(),
            conf: &run.conf,
            note: run.note.as_deref(),
            dag_versions: [Version::of(run.version, run.version_number, run.dag_id.as_str(), run.version_created_at)],
            bundle_version: (),
            dag_display_name: &run.dag_id,
            partition_key: (),
            partition_date: (),
        }
    }
}
