//! What can be typed.

mod dags;
mod examples;
mod processes;
mod resources;
mod users;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::dags::{
    ClearOptions, DagsCommand, LogsOptions, RUNS_LISTED, RunsCommand, ScaffoldPaths, TasksCommand,
};
pub(crate) use self::processes::{
    BucketOptions, LeaseOptions, RetentionOptions, SchedulerOptions, StandaloneOptions, WebOptions, WorkerOptions,
};
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
