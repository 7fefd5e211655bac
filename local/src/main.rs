//! The supervisor of the local stack. Single-threaded on purpose: the kernel ends the children when the thread that
//! started them ends, and this one lives as long as the process.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use local::{
    gcs,
    ports::Ports,
    postgres::Postgres,
    state::{State, postgres_data_of_root},
    up,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
#[command(about = "The local stack of StreamCommerce")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The folder of all data.
    #[arg(long, env = "STREAMCOMMERCE_STATE", default_value = ".state", global = true)]
    state: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the whole pipeline until Ctrl-C.
    Up,
    /// Serves the GCS emulator.
    Gcs {
        /// Its port.
        #[arg(long)]
        port: u16,
        /// The folder of the objects.
        #[arg(long)]
        root: PathBuf,
    },
    /// Runs a command with `DATABASE_URL` set to a Postgres of its own, which ends with it.
    WithPostgres {
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
    /// Forgets all data.
    Clean,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Up => up::run(&checkout(), &arguments.state).await.map(|()| ExitCode::SUCCESS),
        Command::Gcs { port, root } => serve_gcs(&root, port).await,
        Command::WithPostgres { command } => with_postgres(command).await,
        Command::Clean => clean(&arguments.state),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository that this program was built from.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

async fn serve_gcs(root: &Path, port: u16) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let serving = gcs::serve(root, port, stop.clone());
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => result?,
        _ = terminate.recv() => {
            // A connection that a client keeps open must not keep the emulator.
            stop.cancel();
            tokio::time::timeout(std::time::Duration::from_secs(1), serving).await.ok();
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn with_postgres(command: Vec<String>) -> anyhow::Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("streamcommerce-{}", std::process::id()));
    let state = State::take(&folder)?;
    let postgres = Postgres::start(&state, Ports::free()?.postgres).await?;
    let url = postgres.database("streamcommerce").await?;
    let mut child = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .env("DATABASE_URL", url)
        .kill_on_drop(true)
        .spawn()?;
    let status = tokio::select! {
        status = child.wait() => status?,
        result = tokio::signal::ctrl_c() => {
            result?;
            child.kill().await?;
            child.wait().await?
        }
    };
    postgres.stop().await;
    drop(state);
    clean(&folder)?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn clean(state: &Path) -> anyhow::Result<ExitCode> {
    if let Ok(root) = state.canonicalize() {
        // Not under the feet of a stack that runs.
        let _held = State::take(&root)?;
        let of_root = postgres_data_of_root(&root);
        if of_root.exists() {
            std::fs::remove_dir_all(of_root)?;
        }
        std::fs::remove_dir_all(root)?;
    }
    Ok(ExitCode::SUCCESS)
}
