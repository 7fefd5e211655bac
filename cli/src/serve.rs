//! The services: scheduler, worker, web server, or all three in one process.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use orchestrator::{
    dag::Registry,
    engine::Graphs,
    process::{self, Lease, Steadiness},
    retention::Retention,
    scheduler::Scheduler,
    secrets::Keys,
    store::processes::ProcessKind,
    wake::Wake,
    worker::{
        Figures, Settings, Worker,
        isolated::{self, BodyProcess, Secret},
    },
};
use sqlx::PgPool;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use web::Access;

use crate::{
    Exit,
    arguments::{
        BucketOptions, ConnectionOptions, LeaseOptions, RetentionOptions, SchedulerOptions, StandaloneOptions,
        WebOptions, WorkerOptions,
    },
    first_admin, results, settings,
};

/// What the services of one process share.
struct Services {
    pool: PgPool,
    registry: Arc<Registry>,
    graphs: Graphs,
    wake: Wake,
    keys: Keys,
    figures: Figures,
    database_url: String,
    stop: CancellationToken,
    running: JoinSet<anyhow::Result<()>>,
}

pub(crate) async fn standalone(
    connection: &ConnectionOptions,
    registry: Arc<Registry>,
    options: &StandaloneOptions,
) -> anyhow::Result<Exit> {
    // As Airflow's: one command, whatever the database holds.
    let pool = settings::pool(connection)?;
    if let Some(direct) = settings::direct_pool(connection, &pool)? {
        orchestrator::store::migrate(&direct).await.context("cannot bring the schema of the database up to date")?;
    }
    let mut services = Services::new(connection, registry)?;
    services.start_web(&options.web, &options.worker.bucket).await?;
    services.start_scheduler(SchedulerOptions { lease: options.worker.lease, retention: options.retention });
    services.start_worker(&options.worker);
    services.until_stopped().await
}

pub(crate) async fn scheduler(
    connection: &ConnectionOptions,
    registry: Arc<Registry>,
    options: SchedulerOptions,
) -> anyhow::Result<Exit> {
    let mut services = Services::new(connection, registry)?;
    services.start_scheduler(options);
    services.until_stopped().await
}

pub(crate) async fn worker(
    connection: &ConnectionOptions,
    registry: Arc<Registry>,
    options: &WorkerOptions,
    metrics_bind: Option<SocketAddr>,
) -> anyhow::Result<Exit> {
    let mut services = Services::new(connection, registry)?;
    services.start_worker(options);
    if let Some(bind) = metrics_bind {
        services.running.spawn(web::serve_figures(bind, services.figures.clone(), services.stop.clone()));
    }
    services.until_stopped().await
}

pub(crate) async fn web(
    connection: &ConnectionOptions,
    registry: Arc<Registry>,
    options: &WebOptions,
    bucket: &BucketOptions,
) -> anyhow::Result<Exit> {
    let mut services = Services::new(connection, registry)?;
    services.start_web(options, bucket).await?;
    services.until_stopped().await
}

/// What a worker starts for a task with isolation.
pub(crate) async fn run_body(
    connection: &ConnectionOptions,
    registry: Arc<Registry>,
    options: &BucketOptions,
) -> anyhow::Result<Exit> {
    isolated::run(registry, settings::small_pool(connection)?, Keys::from_env()?, results::overflow(options)).await?;
    Ok(Exit::Done)
}

/// What was given as an argument goes to it by the environment, which others cannot read.
fn body_process(database_url: &str, options: &BucketOptions) -> BodyProcess {
    let envs = [
        ("STREAMCOMMERCE_DATABASE_URL", Some(database_url)),
        ("STREAMCOMMERCE_BUCKET", options.bucket.as_deref()),
        ("STREAMCOMMERCE_GCS_ENDPOINT", options.gcs_endpoint.as_deref()),
    ];
    let envs = envs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Secret(value?.to_owned()))));
    BodyProcess { args: vec!["run-body".to_owned()], envs: envs.collect() }
}

impl From<LeaseOptions> for Lease {
    fn from(options: LeaseOptions) -> Self {
        Self::of(Duration::from_secs(options.lease_secs))
    }
}

impl From<RetentionOptions> for Retention {
    fn from(options: RetentionOptions) -> Self {
        options.retention_days.map_or(Self::Everything, Self::Days)
    }
}

impl Services {
    fn new(connection: &ConnectionOptions, registry: Arc<Registry>) -> anyhow::Result<Self> {
        let (pool, keys) = (settings::pool(connection)?, Keys::from_env()?);
        let (wake, stop) = (Wake::default(), CancellationToken::new());
        let mut running = JoinSet::new();
        let direct = settings::direct_pool(connection, &pool)?;
        running.spawn(wait(wake.clone().carry(pool.clone(), direct, stop.clone())));
        let database_url = connection.database_url.clone().unwrap_or_default();
        let (graphs, figures) = (Graphs::default(), Figures::default());
        Ok(Self { pool, registry, graphs, wake, keys, figures, database_url, stop, running })
    }

    fn start_scheduler(&mut self, options: SchedulerOptions) {
        let scheduler =
            Scheduler::new(self.pool.clone(), Arc::clone(&self.registry), self.graphs.clone(), self.wake.clone());
        let scheduler = scheduler.lease(options.lease.into()).retention(options.retention.into());
        self.running.spawn(wait(scheduler.run(self.stop.clone())));
    }

    fn start_worker(&mut self, options: &WorkerOptions) {
        let settings = Settings {
            slots: options.slots,
            queues: options.queues.clone(),
            lease: options.lease.into(),
            keys: self.keys.clone(),
            drain: Duration::from_secs(options.drain_secs),
            body_process: Some(body_process(&self.database_url, &options.bucket)),
            overflow: results::overflow(&options.bucket),
            figures: self.figures.clone(),
            ..Settings::default()
        };
        let worker = Worker::new(
            self.pool.clone(),
            Arc::clone(&self.registry),
            self.graphs.clone(),
            self.wake.clone(),
            settings,
        );
        self.running.spawn(wait(worker.run(self.stop.clone())));
    }

    async fn start_web(&mut self, options: &WebOptions, bucket: &BucketOptions) -> anyhow::Result<()> {
        let access = Access::from_env(options.bind)?;
        if access == Access::Users {
            first_admin::ensure(&self.pool, &self.keys, options.bind).await?;
        }
        let provider = web::Provider::from_env()?.map(Arc::new);
        if provider.is_some() && self.keys.signing().is_empty() {
            bail!(
                "STREAMCOMMERCE_OIDC_ISSUER is set: set STREAMCOMMERCE_SECRET_KEY, too (openssl rand -base64 32 makes one)"
            );
        }
        let server = web::Server {
            app: web::App {
                pool: self.pool.clone().into(),
                graphs: self.graphs.clone(),
                wake: self.wake.clone(),
                keys: self.keys.clone(),
                overflow: results::overflow(bucket),
                figures: self.figures.clone(),
            },
            bind: options.bind,
            entrance: web::Entrance { access, provider, proxies: web::Proxies::from_env()? },
            tls: web::Tls::from_env()?,
            patience: web::Patience::default(),
        };
        self.running.spawn(server.serve(self.stop.clone()));
        let registered = process::stay_registered(
            self.pool.clone(),
            ProcessKind::Web,
            None,
            Lease::default(),
            Steadiness::default(),
            self.stop.clone(),
        );
        self.running.spawn(wait(registered));
        Ok(())
    }

    /// Until SIGTERM, SIGINT, or the failure of a service; then stops all of them in order.
    async fn until_stopped(mut self) -> anyhow::Result<Exit> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let first = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            Some(ended) = self.running.join_next() => ended.map_err(Into::into).flatten(),
        };
        tracing::info!("stopping");
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.map_err(Into::into).flatten()?;
        }
        first.map(|()| Exit::Done)
    }
}

async fn wait(service: impl Future<Output = ()>) -> anyhow::Result<()> {
    service.await;
    Ok(())
}
