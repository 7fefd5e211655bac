//! What can be typed.

mod examples;
mod resources;
mod users;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::resources::{
    AddConnection, AssetsCommand, BackfillCommand, BackfillOptions, ConnectionsCommand, PoolsCommand, VariablesCommand,
};
pub(crate) use self::users::{PasswordOptions, UsersCommand};

/// A workflow orchestrator: DAGs in Rust, state in Postgres.
#[derive(Debug, Parser)]
#[command(name = "streamcommerce", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,
    /// Have the example DAGs, too.
    #[arg(long, global = true, env = "STREAMCOMMERCE_LOAD_EXAMPLES", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) examples: bool,
    /// How lists are written.
    #[arg(long, short, global = true, default_value = "table")]
    pub(crate) output: OutputFormat,
}

/// Where the state is.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectionOptions {
    /// The URL of the database.
    #[arg(long, global = true, env = "STREAMCOMMERCE_DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// If the other URL leads through PgBouncer, one of the same database that does not: to migrate, and to listen for
    /// wake-ups. With `none` processes find out by polling.
    #[arg(long, global = true, env = "STREAMCOMMERCE_DIRECT_DATABASE_URL", hide_env_values = true)]
    pub(crate) direct_database_url: Option<String>,
}

/// A server, in place of the database.
#[derive(Clone, Debug, Args)]
pub(crate) struct RemoteOptions {
    /// The address of a server, whose API is asked in place of the database.
    #[arg(long, global = true, env = "STREAMCOMMERCE_URL")]
    pub(crate) url: Option<String>,
    /// A token of a user of that server.
    #[arg(long, global = true, env = "STREAMCOMMERCE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs scheduler, worker and web server in one process; brings the schema of the database up to date first.
    #[command(after_help = examples::SERVE)]
    Standalone(StandaloneOptions),
    /// Runs a scheduler; any number may run.
    Scheduler(SchedulerOptions),
    /// Runs a worker; any number may run.
    Worker {
        #[command(flatten)]
        options: WorkerOptions,
        /// Where Prometheus asks this worker for what it counts; without it, nowhere.
        #[arg(long, env = "STREAMCOMMERCE_METRICS_BIND")]
        metrics_bind: Option<SocketAddr>,
    },
    /// Serves the pages and the API.
    Web {
        #[command(flatten)]
        options: WebOptions,
        #[command(flatten)]
        bucket: BucketOptions,
    },
    /// Runs one body for a worker.
    #[command(hide = true)]
    RunBody(BucketOptions),
    /// The database.
    #[command(subcommand, after_help = examples::DB)]
    Db(DbCommand),
    /// DAGs: list, show, check, write, trigger, pause, test.
    #[command(subcommand, after_help = examples::DAGS)]
    Dags(DagsCommand),
    /// Runs of DAGs.
    #[command(subcommand, after_help = examples::RUNS)]
    Runs(RunsCommand),
    /// Users, their roles and tokens.
    #[command(subcommand, after_help = examples::USERS)]
    Users(UsersCommand),
    /// Task instances: list, logs, clear.
    #[command(subcommand, after_help = examples::TASKS)]
    Tasks(TasksCommand),
    /// Runs of past dates, many at once.
    #[command(subcommand, after_help = examples::BACKFILL)]
    Backfill(BackfillCommand),
    /// Assets and their updates.
    #[command(subcommand, after_help = examples::ASSETS)]
    Assets(AssetsCommand),
    /// Pools of slots.
    #[command(subcommand, after_help = examples::POOLS)]
    Pools(PoolsCommand),
    /// Variables.
    #[command(subcommand, after_help = examples::VARIABLES)]
    Variables(VariablesCommand),
    /// Connections to other systems.
    #[command(subcommand, after_help = examples::CONNECTIONS)]
    Connections(ConnectionsCommand),
    /// Every setting of this program, and what it is now.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What this program is and where its state is.
    Info,
    /// Writes the completion script of a shell to standard output.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    pub(crate) fn is_service(&self) -> bool {
        matches!(self, Self::Standalone(_) | Self::Scheduler(_) | Self::Worker { .. } | Self::Web { .. })
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SchedulerOptions {
    #[command(flatten)]
    pub(crate) lease: LeaseOptions,
    #[command(flatten)]
    pub(crate) retention: RetentionOptions,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RetentionOptions {
    /// For how many days ended runs, their logs and values, and the event log are kept; without it for ever.
    #[arg(long, env = "STREAMCOMMERCE_RETENTION_DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) retention_days: Option<u32>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct StandaloneOptions {
    #[command(flatten)]
    pub(crate) retention: RetentionOptions,
    #[command(flatten)]
    pub(crate) worker: WorkerOptions,
    #[command(flatten)]
    pub(crate) web: WebOptions,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WorkerOptions {
    /// How many task instances run at once.
    #[arg(long, env = "STREAMCOMMERCE_WORKER_SLOTS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) slots: u32,
    #[command(flatten)]
    pub(crate) lease: LeaseOptions,
    /// The queues whose tasks it takes.
    #[arg(long, env = "STREAMCOMMERCE_WORKER_QUEUES", value_delimiter = ',', default_value = "default")]
    pub(crate) queues: Vec<String>,
    /// How many seconds running tasks have to end when the worker is to stop; then they are handed back.
    #[arg(long, env = "STREAMCOMMERCE_DRAIN_SECS", default_value_t = 30)]
    pub(crate) drain_secs: u64,
    #[command(flatten)]
    pub(crate) bucket: BucketOptions,
}

/// Where results go that are too big for the database.
#[derive(Clone, Debug, Args)]
pub(crate) struct BucketOptions {
    /// The bucket for results of more than a mebibyte; without it they fail their tries.
    #[arg(long, env = "STREAMCOMMERCE_BUCKET")]
    pub(crate) bucket: Option<String>,
    /// Another server than Google's, for example an emulator's; then no credentials are sent.
    #[arg(long, env = "STREAMCOMMERCE_GCS_ENDPOINT")]
    pub(crate) gcs_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LeaseOptions {
    /// After how many seconds without a heartbeat a process is lost, and a worker's tasks are taken from it.
    #[arg(long, env = "STREAMCOMMERCE_LEASE_SECS", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) lease_secs: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WebOptions {
    /// Where the pages and the API are served.
    #[arg(long, env = "STREAMCOMMERCE_WEB_BIND", default_value = "127.0.0.1:8080")]
    pub(crate) bind: SocketAddr,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Lists the settings, with the environment variable of each; no secrets.
    List,
    /// Shows the value of a setting.
    GetValue {
        /// Its environment variable.
        name: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Brings the schema up to date.
    Migrate,
    /// Says whether the database answers.
    Check,
    /// Deletes ended runs with their logs and values, and the event log, from before so many days.
    Clean {
        /// What is younger stays.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
}

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
