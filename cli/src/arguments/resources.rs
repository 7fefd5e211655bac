//! What can be typed of backfills, assets, pools, variables and connections.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// Makes a run for each date of the schedule from one date to another.
    Create(BackfillOptions),
    /// Lists backfills.
    List {
        /// Only of this DAG.
        dag_id: Option<String>,
    },
    /// Starts no more of its runs.
    Pause {
        /// The backfill.
        id: i64,
    },
    /// Goes on.
    Unpause {
        /// The backfill.
        id: i64,
    },
    /// Starts no more of its runs, ever.
    Cancel {
        /// The backfill.
        id: i64,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BackfillOptions {
    /// The DAG.
    pub(crate) dag_id: String,
    /// The first date, as ISO 8601.
    #[arg(long, value_parser = date)]
    pub(crate) from_date: chrono::DateTime<chrono::Utc>,
    /// The last date, as ISO 8601.
    #[arg(long, value_parser = date)]
    pub(crate) to_date: chrono::DateTime<chrono::Utc>,
    /// How many of its runs are active at once.
    #[arg(long, default_value_t = 10)]
    pub(crate) max_active_runs: i32,
    /// The latest date first.
    #[arg(long)]
    pub(crate) run_backwards: bool,
    /// What happens to dates that have a run already.
    #[arg(long, default_value = "none", value_parser = ["none", "failed", "completed"])]
    pub(crate) reprocess_behavior: String,
    /// A JSON object for its tasks to read.
    #[arg(long)]
    pub(crate) dag_run_conf: Option<String>,
    /// Only say which dates it would have.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A date, or a date with a time; without a zone it is UTC.
fn date(text: &str) -> Result<chrono::DateTime<chrono::Utc>, String> {
    let zoned = text.parse::<chrono::DateTime<chrono::Utc>>().ok();
    let plain = || Some(text.parse::<chrono::NaiveDate>().ok()?.and_time(chrono::NaiveTime::MIN).and_utc());
    let bare = || Some(text.parse::<chrono::NaiveDateTime>().ok()?.and_utc());
    zoned.or_else(plain).or_else(bare).ok_or_else(|| format!("{text:?} is no date, such as 2026-01-31"))
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AssetsCommand {
    /// Lists assets.
    List,
    /// Makes a run of the DAG that makes an asset.
    Materialize {
        /// Its name.
        #[arg(long)]
        name: String,
    },
    /// Lists their updates.
    Events {
        /// How many, the latest first.
        #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PoolsCommand {
    /// Lists pools.
    List,
    /// Shows a pool.
    Get {
        /// Its name.
        name: String,
    },
    /// Makes a pool, or changes it.
    Set {
        /// Its name.
        name: String,
        /// How many slots it has; -1: without limit.
        #[arg(allow_hyphen_values = true)]
        slots: i32,
        /// What it is for.
        #[arg(default_value = "")]
        description: String,
        /// Deferred tasks keep their slots.
        #[arg(long)]
        include_deferred: bool,
    },
    /// Deletes a pool.
    Delete {
        /// Its name.
        name: String,
    },
    /// Makes or changes the pools of a file, as Airflow writes it.
    Import {
        /// The file; JSON.
        file: PathBuf,
    },
    /// Writes all pools to a file, as Airflow does.
    Export {
        /// The file; JSON.
        file: PathBuf,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum VariablesCommand {
    /// Lists variables; those that sound secret without their values.
    List,
    /// Shows the value of a variable.
    Get {
        /// Its name.
        key: String,
    },
    /// Makes a variable, or changes it.
    Set {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
    },
    /// Deletes a variable.
    Delete {
        /// Its name.
        key: String,
    },
    /// Makes or changes the variables of a file, as Airflow writes it.
    Import {
        /// The file; JSON.
        file: PathBuf,
    },
    /// Writes all variables to a file, as Airflow does: with their values.
    Export {
        /// The file; JSON.
        file: PathBuf,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConnectionsCommand {
    /// Lists connections, without their secrets.
    List,
    /// Shows a connection, without its secrets.
    Get {
        /// Its id.
        conn_id: String,
    },
    /// Makes a connection.
    Add(Box<AddConnection>),
    /// Deletes a connection.
    Delete {
        /// Its id.
        conn_id: String,
    },
    /// Makes or changes the connections of a file, as Airflow writes it.
    Import {
        /// The file; JSON.
        file: PathBuf,
    },
    /// Writes all connections to a file, as Airflow does: with their secrets.
    Export {
        /// The file; JSON.
        file: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct AddConnection {
    /// Its id.
    pub(crate) conn_id: String,
    /// What it leads to: postgres, http, ...
    #[arg(long)]
    pub(crate) conn_type: String,
    /// What it is for.
    #[arg(long)]
    pub(crate) conn_description: Option<String>,
    /// The host.
    #[arg(long)]
    pub(crate) conn_host: Option<String>,
    /// The user.
    #[arg(long)]
    pub(crate) conn_login: Option<String>,
    /// Read the password from standard input, where no other process sees it.
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// The port.
    #[arg(long)]
    pub(crate) conn_port: Option<u16>,
    /// The database, or whatever the other system calls it.
    #[arg(long)]
    pub(crate) conn_schema: Option<String>,
    /// What else is needed: a JSON object.
    #[arg(long)]
    pub(crate) conn_extra: Option<String>,
}
