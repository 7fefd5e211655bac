//! What a scheduler, a worker and a web server are told.

use std::net::SocketAddr;

use clap::Args;

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
