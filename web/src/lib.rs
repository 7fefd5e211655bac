//! The API and the pages.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use axum::{Router, routing::get};
use orchestrator::{engine::Graphs, wake::Wake};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

/// The web server.
#[derive(Debug)]
pub struct Server {
    /// The database.
    pub pool: PgPool,
    /// The graphs of the versions in use.
    pub graphs: Graphs,
    /// Wakes scheduler and worker.
    pub wake: Wake,
    /// Where it listens.
    pub bind: SocketAddr,
    /// That everybody who reaches it may do everything.
    pub unauthenticated: Unauthenticated,
}

/// That there is no authentication yet: on loopback that is fine, elsewhere somebody must have said so.
#[derive(Clone, Copy, Debug)]
pub struct Unauthenticated(());

impl Unauthenticated {
    /// Accepts a loopback address, or any other one if `STREAMCOMMERCE_UNAUTHENTICATED=accept`.
    ///
    /// # Errors
    /// Another address, and nobody said so.
    pub fn from_env(bind: SocketAddr) -> anyhow::Result<Self> {
        let accepted = std::env::var("STREAMCOMMERCE_UNAUTHENTICATED").is_ok_and(|value| value == "accept");
        if !bind.ip().is_loopback() && !accepted {
            bail!(
                "{bind} is not on loopback, and there is no authentication yet: whoever reaches it can trigger and \
                 clear. Bind to 127.0.0.1, or set STREAMCOMMERCE_UNAUTHENTICATED=accept"
            );
        }
        Ok(Self(()))
    }
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
        let router: Router = Router::new().route("/api/v2/version", get(async || "{}"));
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
        Ok(())
    }
}
