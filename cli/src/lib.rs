//! The command line: all that the `main.rs` of a team's own binary calls.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     cli::run(vec![/* a Dag for each DAG file */])
//! }
//! ```

mod api;
mod arguments;
mod assets;
mod backfill;
mod config;
mod connections;
mod dags;
mod database;
mod first_admin;
mod info;
mod output;
mod pools;
mod results;
mod runs;
mod scaffold;
mod serve;
mod settings;
mod tasks;
mod transfer;
mod users;
mod variables;

use std::{io::IsTerminal, process::ExitCode, sync::Arc};

use clap::Parser;
use orchestrator::dag::{Dag, Registry};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, dynamic_filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    api::Api,
    arguments::{Arguments, Command, DagsCommand, OutputFormat},
};

/// What a command ends with, for shells and programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// It ran, and the answer is no: a check that fails, a test run that fails.
    No,
}

/// Runs the command line of a binary that has these DAGs. Exit codes: 0 done, 1 failed (or the answer is no), 2 the
/// arguments make no sense.
#[must_use]
pub fn run(dags: Vec<Dag>) -> ExitCode {
    run_with_examples(dags, Vec::new)
}

/// The same, of a binary that has `examples` too: they are there beside the others with `--examples`, as with Airflow's
/// `[core] load_examples`.
#[must_use]
pub fn run_with_examples(mut dags: Vec<Dag>, examples: impl FnOnce() -> Vec<Dag>) -> ExitCode {
    let arguments = Arguments::parse();
    install_tracing(&arguments.command);
    // A body is one that a worker knows, and it has not said whether it has the examples.
    if arguments.examples || matches!(arguments.command, Command::RunBody(_)) {
        dags.extend(examples());
    }
    // One TLS provider for everything, before anything connects. Fails only if there is one already.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(arguments, dags)) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::No) => ExitCode::FAILURE,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(arguments: Arguments, dags: Vec<Dag>) -> anyhow::Result<Exit> {
    let Arguments { command, connection, remote, output, .. } = arguments;
    // These two are what helps when the DAGs are faulty, so they come before the DAGs are refused.
    match &command {
        Command::Dags(DagsCommand::Check) => return dags::check(dags, output),
        Command::Dags(DagsCommand::New { dag_id }) => return scaffold::new_dag(dag_id),
        _ => {}
    }
    let registry = Arc::new(Registry::build(dags)?);
    match command {
        Command::Standalone(options) => serve::standalone(&connection, registry, &options).await,
        Command::Scheduler(options) => serve::scheduler(&connection, registry, options).await,
        Command::Worker { options, metrics_bind } => serve::worker(&connection, registry, &options, metrics_bind).await,
        Command::RunBody(options) => serve::run_body(&connection, registry, &options).await,
        Command::Web { options, bucket } => serve::web(&connection, registry, &options, &bucket).await,
        Command::Db(command) => database::dispatch(&connection, &command).await,
        Command::Config(command) => config::dispatch(&command, output),
        Command::Completion { shell } => Ok(info::completion(shell)),
        Command::Dags(DagsCommand::Show { dag_id }) => dags::show(&registry, &dag_id, output),
        Command::Dags(DagsCommand::Test { dag_id, conf }) => dags::test(&registry, &dag_id, conf).await,
        command => ask(&Api::of(&remote, &connection)?, command, output).await,
    }
}

/// What the API answers, wherever it is.
async fn ask(api: &Api, command: Command, output: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        Command::Dags(command) => dags::dispatch(api, command, output).await,
        Command::Runs(command) => runs::dispatch(api, command, output).await,
        Command::Tasks(command) => tasks::dispatch(api, command, output).await,
        Command::Backfill(command) => backfill::dispatch(api, command, output).await,
        Command::Assets(command) => assets::dispatch(api, command, output).await,
        Command::Users(command) => users::dispatch(api, command, output).await,
        Command::Pools(command) => pools::dispatch(api, command, output).await,
        Command::Variables(command) => variables::dispatch(api, command, output).await,
        Command::Connections(command) => connections::dispatch(api, command, output).await,
        _ => info::show(api, output).await,
    }
}

/// Logs go to stderr, the answer of a command to stdout. What task bodies say goes to their logs, and only there.
fn install_tracing(command: &Command) {
    let default = if command.is_service() { "info,sqlx=warn" } else { "warn" };
    let filter = EnvFilter::try_from_env("STREAMCOMMERCE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Asked anew for each event: whether a task says it is no property of the place in the code.
    let of_the_engine = dynamic_filter_fn(|_, _| !orchestrator::task_log::is_in_task());
    let console = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(filter.and(of_the_engine));
    tracing_subscriber::registry().with(orchestrator::task_log::Capture).with(console).init();
}
