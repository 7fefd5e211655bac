//! DAGs, their runs, and the tasks of these.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DagsCommand {
    /// Lists the DAGs that the database knows.
    List,
    /// Shows everything that the database knows of a DAG.
    Details {
        /// The DAG.
        dag_id: String,
    },
    /// Lists the runs of a DAG, the latest first.
    ListRuns {
        /// The DAG.
        dag_id: String,
        /// Only in this state.
        #[arg(long, value_parser = RUN_STATES)]
        state: Option<String>,
    },
    /// Shows the state of a run.
    State {
        /// The DAG.
        dag_id: String,
        /// The run.
        run_id: String,
    },
    /// Deletes everything that is stored of a DAG. One that is still deployed comes back, without its past.
    Delete {
        /// The DAG.
        dag_id: String,
        /// Do it; without this, it only says what would go.
        #[arg(long, short)]
        yes: bool,
    },
    /// Shows the tasks of a DAG of this binary and the edges between them.
    Show {
        /// The DAG.
        dag_id: String,
    },
    /// Checks every DAG of this binary: cycles, duplicate ids, edges to nowhere, schedules.
    Check,
    /// Writes a new DAG file with comments, and its line in `lib.rs`.
    New {
        /// Its id: a Rust module name.
        dag_id: String,
    },
    /// Makes a manual run.
    Trigger {
        /// The DAG.
        dag_id: String,
        /// A JSON object for its tasks to read.
        #[arg(long, short)]
        conf: Option<String>,
        /// The id of the run; made from the time if none is given.
        #[arg(long, short)]
        run_id: Option<String>,
        /// The date that the run stands for, as ISO 8601.
        #[arg(long, short = 'e', visible_alias = "exec-date")]
        logical_date: Option<chrono::DateTime<chrono::Utc>>,
    },
    /// Stops the schedule of a DAG and the start of its queued runs.
    Pause {
        /// The DAG.
        dag_id: String,
    },
    /// Resumes them.
    Unpause {
        /// The DAG.
        dag_id: String,
    },
    /// Runs a DAG in this process, without a server and without the database.
    Test {
        /// The DAG.
        dag_id: String,
        /// A JSON object for its tasks to read.
        #[arg(long, short)]
        conf: Option<String>,
    },
}

/// Where a run can be.
const RUN_STATES: [&str; 4] = ["queued", "running", "success", "failed"];

/// How many runs are listed if nobody says.
pub(crate) const RUNS_LISTED: u32 = 25;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Lists runs, the latest first.
    List {
        /// Only of this DAG.
        dag_id: Option<String>,
        /// Only in this state.
        #[arg(long, value_parser = RUN_STATES)]
        state: Option<String>,
        /// How many.
        #[arg(long, default_value_t = RUNS_LISTED, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Follows a run until it has ended, and tells what its tasks do; fails if it fails.
    Wait {
        /// The DAG.
        dag_id: String,
        /// The run.
        run_id: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TasksCommand {
    /// Lists the task instances of a run; without one, the tasks of the DAG.
    #[command(visible_alias = "states-for-dag-run")]
    List {
        /// The DAG.
        dag_id: String,
        /// The run.
        run_id: Option<String>,
    },
    /// Shows the state of a task instance; the task before the run, as in Airflow.
    State {
        /// The DAG.
        dag_id: String,
        /// The task.
        task_id: String,
        /// The run.
        run_id: String,
        /// Of a mapped task: which instance.
        #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
        map_index: i32,
    },
    /// Shows the log of a task instance.
    Logs(LogsOptions),
    /// Takes task instances back to the beginning. Shows what it would clear; `--yes` clears it.
    Clear(ClearOptions),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ClearOptions {
    /// The DAG.
    pub(crate) dag_id: String,
    /// The run.
    pub(crate) run_id: String,
    /// Only these tasks; all if none is named.
    #[arg(long = "task", short)]
    pub(crate) tasks: Vec<String>,
    /// Also everything that they come after.
    #[arg(long, short)]
    pub(crate) upstream: bool,
    /// Also everything that comes after them.
    #[arg(long, short)]
    pub(crate) downstream: bool,
    /// Also every run of an earlier logical date.
    #[arg(long)]
    pub(crate) past: bool,
    /// Also every run of a later logical date.
    #[arg(long)]
    pub(crate) future: bool,
    /// Only what failed.
    #[arg(long, short = 'f', conflicts_with = "only_running")]
    pub(crate) only_failed: bool,
    /// Only what is running.
    #[arg(long, short = 'r')]
    pub(crate) only_running: bool,
    /// Do it.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Where `dags new` writes.
#[derive(Clone, Debug)]
pub(crate) struct ScaffoldPaths {
    pub(crate) file: PathBuf,
    pub(crate) list: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LogsOptions {
    /// The DAG.
    pub(crate) dag_id: String,
    /// The run.
    pub(crate) run_id: String,
    /// The task.
    pub(crate) task_id: String,
    /// Which try; the latest if none is named.
    #[arg(long = "try")]
    pub(crate) try_number: Option<i64>,
    /// Of a mapped task: which instance.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub(crate) map_index: i32,
    /// Go on until the task instance has ended.
    #[arg(long, short)]
    pub(crate) follow: bool,
}
