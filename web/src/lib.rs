//! The API ([`api`]) and the pages ([`pages`]). Reads go through `store::pages`, writes through `commands`.

pub mod api;
mod guard;
pub mod pages;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum::{Router, middleware};
use orchestrator::{engine::Graphs, overflow::Overflow, secrets::Keys, wake::Wake};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

/// How long open requests have when the server is to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// The web server.
#[derive(Debug)]
pub struct Server {
    /// What its handlers reach.
    pub app: App,
    /// Where it listens.
    pub bind: SocketAddr,
    /// That everybody who reaches it may do everything.
    pub unauthenticated: Unauthenticated,
}

/// What every handler can reach.
#[derive(Clone, Debug)]
pub struct App {
    /// The database.
    pub pool: PgPool,
    /// The graphs of the versions in use.
    pub graphs: Graphs,
    /// Wakes scheduler and worker.
    pub wake: Wake,
    /// What seals and opens variables and connections.
    pub keys: Keys,
    /// Where results are that were too big for the database.
    pub overflow: Option<Arc<dyn Overflow>>,
}

/// That there is no authentication yet: on loopback that is fine, elsewhere somebody must have said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unauthenticated {
    /// Only this machine reaches it; a request that names another host is refused.
    Loopback,
    /// Somebody said that everybody may do everything.
    Accepted,
}

impl Unauthenticated {
    /// Accepts a loopback address, or any other one if `STREAMCOMMERCE_UNAUTHENTICATED=accept`.
    ///
    /// # Errors
    /// Another address, and nobody said so.
    pub fn from_env(bind: SocketAddr) -> anyhow::Result<Self> {
        let accepted = std::env::var("STREAMCOMMERCE_UNAUTHENTICATED").is_ok_and(|value| value == "accept");
        match (bind.ip().is_loopback(), accepted) {
            (true, _) => Ok(Self::Loopback),
            (false, true) => Ok(Self::Accepted),
            (false, false) => bail!(
                "{bind} is not on loopback, and there is no authentication yet: whoever reaches it can trigger and \
                 clear. Bind to 127.0.0.1, or set STREAMCOMMERCE_UNAUTHENTICATED=accept"
            ),
        }
    }
}

/// All routes.
pub fn router(app: App, unauthenticated: Unauthenticated) -> Router {
    let guard = Arc::new(guard::Guard { unauthenticated });
    Router::new()
        .nest("/api/v2", api::router())
        .nest("/api", api::own_router())
        .merge(pages::router())
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(app)
}

impl Server {
    /// Serves until `stop`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind(self.bind)
            .await
            .with_context(|| format!("cannot listen on {}: free it, or set STREAMCOMMERCE_WEB_BIND", self.bind))?;
        tracing::info!(address = %self.bind, "the pages and the API are served");
        let router = router(self.app, self.unauthenticated);
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::select! {
            result = serving.into_future() => result?,
            // A browser that keeps its connection open must not keep the server.
            () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => {}
        }
        Ok(())
    }
}
