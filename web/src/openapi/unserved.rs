//! What of Airflow's API has a route that refuses it: our document does not have it. A list refuses the parameters that
//! it does not serve, for one that is silently not filtered would be a wrong one.

/// The method and the path of such operations.
pub(super) const OPERATIONS: [(&str, &str); 1] =
    [("delete", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}")];

/// The parameters of one list.
#[derive(Debug)]
pub(crate) struct Unserved {
    /// The list, as Airflow's document calls it.
    pub(super) path: &'static str,
    /// The parameters.
    pub(crate) names: &'static [&'static str],
}

pub(crate) const RUNS: Unserved = Unserved {
    path: "/api/v2/dags/{dag_id}/dagRuns",
    names: &["updated_at_gte", "updated_at_gt", "updated_at_lte", "updated_at_lt"],
};

const OF_INSTANCES: &[&str] = &[
    "updated_at_gte",
    "updated_at_gt",
    "updated_at_lte",
    "updated_at_lt",
    "operator",
    "operator_name_pattern",
    "operator_name_prefix_pattern",
];

pub(crate) const INSTANCES: Unserved =
    Unserved { path: "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", names: OF_INSTANCES };

const MAPPED: Unserved = Unserved {
    path: "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
    names: OF_INSTANCES,
};

pub(crate) const EVENTS: Unserved = Unserved { path: "/api/v2/eventLogs", names: &["map_index", "try_number"] };

/// All of them.
pub(super) const ALL: [Unserved; 4] = [RUNS, INSTANCES, MAPPED, EVENTS];
