//! The parameters of Airflow's lists that we do not serve. A list refuses them, for one that is silently not filtered
//! would be a wrong one, and our document does not have them.

/// The parameters of one list.
#[derive(Debug)]
pub(crate) struct Unserved {
    /// The list, as Airflow's document calls it.
    pub(super) path: &'static str,
    /// The parameters.
    pub(crate) names: &'static [&'static str],
}

pub(crate) const DAGS: Unserved =
    Unserved { path: "/api/v2/dags", names: &["timetable_type", "bundle_name", "bundle_version"] };

pub(crate) const RUNS: Unserved = Unserved {
    path: "/api/v2/dags/{dag_id}/dagRuns",
    names: &[
        "updated_at_gte",
        "updated_at_gt",
        "updated_at_lte",
        "updated_at_lt",
        "bundle_version",
        "triggering_user_name_pattern",
        "triggering_user_name_prefix_pattern",
        "partition_key_pattern",
        "partition_key_prefix_pattern",
        "partition_date_gte",
        "partition_date_lte",
        "consuming_asset_pattern",
    ],
};

const OF_INSTANCES: &[&str] = &[
    "updated_at_gte",
    "updated_at_gt",
    "updated_at_lte",
    "updated_at_lt",
    "executor",
    "operator",
    "operator_name_pattern",
    "operator_name_prefix_pattern",
    "rendered_map_index_pattern",
    "rendered_map_index_prefix_pattern",
];

pub(crate) const INSTANCES: Unserved =
    Unserved { path: "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", names: OF_INSTANCES };

const MAPPED: Unserved = Unserved {
    path: "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
    names: OF_INSTANCES,
};

pub(crate) const EVENTS: Unserved = Unserved { path: "/api/v2/eventLogs", names: &["map_index", "try_number"] };

pub(crate) const JOBS: Unserved = Unserved { path: "/api/v2/jobs", names: &["job_state", "executor_class"] };

pub(crate) const VERSIONS: Unserved =
    Unserved { path: "/api/v2/dags/{dag_id}/dagVersions", names: &["bundle_version"] };

/// All of them.
pub(super) const ALL: [Unserved; 7] = [DAGS, RUNS, INSTANCES, MAPPED, EVENTS, JOBS, VERSIONS];
