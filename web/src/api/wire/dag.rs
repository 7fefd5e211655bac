//! DAGs.

use orchestrator::{dag::Graph, ids::DagId, schedule::Schedule, store::pages::dags::DagListed};
use serde::Serialize;

use super::{BUNDLE, instant, maybe};

/// Airflow's `DAGResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct Dag<'d> {
    dag_id: &'d DagId,
    dag_display_name: &'d DagId,
    is_paused: bool,
    is_stale: bool,
    last_parsed_time: String,
    last_parse_duration: (),
    last_expired: (),
    bundle_name: &'static str,
    bundle_version: (),
    relative_fileloc: Option<&'d str>,
    fileloc: &'d str,
    description: Option<&'d str>,
    timetable_summary: Option<String>,
    timetable_description: Option<String>,
    timetable_partitioned: bool,
    timetable_periodic: bool,
    tags: Vec<Tag<'d>>,
    max_active_tasks: i32,
    max_active_runs: u32,
    max_consecutive_failed_dag_runs: u32,
    has_task_concurrency_limits: bool,
    has_import_errors: bool,
    next_dagrun_logical_date: Option<String>,
    next_dagrun_data_interval_start: Option<String>,
    next_dagrun_data_interval_end: Option<String>,
    next_dagrun_run_after: Option<String>,
    allowed_run_types: (),
    owners: [&'d str; 1],
    is_backfillable: bool,
    file_token: &'d DagId,
}

/// Airflow's `DagTagResponse`.
#[derive(Debug, Serialize)]
struct Tag<'d> {
    name: &'d str,
    dag_id: &'d DagId,
    dag_display_name: &'d DagId,
}

impl<'d> Dag<'d> {
    /// That of a DAG, whose latest version has this graph.
    pub(crate) fn of(dag: &'d DagListed, graph: &'d Graph) -> Self {
        let (id, next, file) = (&dag.dag_id, maybe(dag.next_run_at), dag.file.as_deref().unwrap_or_default());
        let mut tags: Vec<_> = graph.tags().iter().map(|name| Tag { name, dag_id: id, dag_display_name: id }).collect();
        tags.sort_by_key(|tag| tag.name);
        let has_schedule = !matches!(graph.schedule(), Schedule::None);
        let is_periodic =
            matches!(graph.schedule(), Schedule::Cron { .. } | Schedule::Crons { .. } | Schedule::Interval { .. });
        let summary = has_schedule.then(|| graph.schedule().summary());
        Self {
            dag_id: id,
            dag_display_name: id,
            is_paused: dag.is_paused,
            is_stale: false,
            last_parsed_time: instant(dag.last_registered_at),
            last_parse_duration: (),
            last_expired: (),
            bundle_name: BUNDLE,
            bundle_version: (),
            relative_fileloc: file.rsplit('/').next(),
            fileloc: file,
            description: graph.description(),
            timetable_summary: summary.clone(),
            timetable_description: summary,
            timetable_partitioned: false,
            timetable_periodic: is_periodic,
            tags,
            max_active_tasks: graph.max_active_tasks(),
            max_active_runs: graph.max_active_runs(),
            max_consecutive_failed_dag_runs: graph.max_consecutive_failed_dag_runs().unwrap_or(0),
            has_task_concurrency_limits: false,
            has_import_errors: false,
            next_dagrun_logical_date: next.clone(),
            next_dagrun_data_interval_start: next.clone(),
            next_dagrun_data_interval_end: next.clone(),
            next_dagrun_run_after: next,
            allowed_run_types: (),
            owners: [graph.owner()],
            is_backfillable: is_periodic,
            file_token: id,
        }
    }
}
