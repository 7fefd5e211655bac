//! The API ([`api`]) and the pages ([`pages`]), and who may see them. Reads go through `store::pages`, writes through `commands`.

pub mod api;
mod auth;
mod line;
mod metrics;
mod openapi;
mod own;
pub mod pages;
mod serving;
mod tls;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use axum::{Router, middleware, routing::get};
use orchestrator::{engine::Graphs, overflow::Overflow, secrets::Keys, wake::Wake, worker::Figures};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::{CompressionLevel, compression::CompressionLayer};

use crate::auth::{Gate, Signer};
pub use crate::{
    auth::{Access, AccessError, Entrance, Provider, Proxies},
    line::Line,
    own::{Answer, Own},
    pages::part,
    serving::Patience,
    tls::Tls,
};

/// Two thirds of the time of the default for some more bytes: 1.28 MB become 42 KB in 3.2 ms, where the default needs 4.7 for 41
/// and the fastest 1.0 for 79.
const COMPRESSION: CompressionLevel = CompressionLevel::Precise(5);

/// The web server.
#[derive(Debug)]
pub struct Server {
    /// What its handlers reach.
    pub app: App,
    /// Where it listens.
    pub bind: SocketAddr,
    /// Who may come in, and how.
    pub entrance: Entrance,
    /// The certificate, if it is HTTPS.
    pub tls: Option<Tls>,
    /// How long it waits.
    pub patience: Patience,
}

/// What every handler can reach.
#[derive(Clone, Debug)]
pub struct App {
    /// The database.
    pub pool: Line,
    /// The graphs of the versions in use.
    pub graphs: Graphs,
    /// Wakes scheduler and worker.
    pub wake: Wake,
    /// What seals and opens variables and connections.
    pub keys: Keys,
    /// Where results are that were too big for the database.
    pub overflow: Option<Arc<dyn Overflow>>,
    /// What the workers of this process count, if there are any.
    pub figures: Figures,
}

/// All routes.
pub fn router(app: App, entrance: impl Into<Entrance>) -> Router {
    let gate = Gate { entrance: entrance.into(), signer: Arc::new(Signer::new(&app.keys)), app: app.clone() };
    let api =
        Router::new().nest("/api/v2", api::router()).nest("/api", api::own_router()).merge(auth::routes(gate.clone()));
    Router::new()
        .merge(openapi::routes(api.clone().with_state(app.clone())))
        .merge(api)
        .merge(pages::router(&app))
        .route("/metrics", get(metrics::show))
        .layer(middleware::from_fn(pages::theme::hear))
        .layer(middleware::from_fn(auth::permit))
        .layer(middleware::from_fn_with_state(gate, auth::admit))
        .layer(middleware::map_response(auth::secured))
        .layer(CompressionLayer::new().quality(COMPRESSION))
        .with_state(app)
}

impl Server {
    /// Serves until `stop`.
    ///
    /// # Errors
    /// The address cannot be bound, or there is no such certificate.
    pub async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let listener = listen(self.bind, "STREAMCOMMERCE_WEB_BIND").await?;
        tracing::info!(address = %self.bind, is_https = self.tls.is_some(), "the pages and the API are served");
        serving::serve(listener, self.tls, router(self.app, self.entrance), self.patience, stop).await
    }
}

/// Serves the `/metrics` of a worker without pages until `stop`, to whoever asks.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve_figures(bind: SocketAddr, figures: Figures, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = listen(bind, "STREAMCOMMERCE_METRICS_BIND").await?;
    tracing::info!(address = %bind, "metrics are served");
    let router = Router::new().route("/metrics", get(metrics::show_counted)).with_state(figures);
    serving::serve(listener, None, router, Patience::default(), stop).await
}

async fn listen(bind: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let taken = || format!("cannot listen on {bind}: free it, or set {setting}");
    TcpListener::bind(bind).await.with_context(taken)
}
