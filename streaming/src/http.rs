//! `/metrics`, `/healthz` and `/readyz`.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Serves until the task is dropped.
///
/// # Errors
/// The address is taken.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> anyhow::Result<impl Future<Output = ()>> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "metrics are served");
    let routes = Router::new()
        .route("/metrics", get(text))
        .route(
            "/healthz",
            get(async |State(metrics): State<Arc<Metrics>>| state((!metrics.is_alive()).then_some("the loop hangs"))),
        )
        .route("/readyz", get(async |State(metrics): State<Arc<Metrics>>| state(metrics.unready())))
        .with_state(metrics);
    Ok(async move {
        axum::serve(listener, routes).await.ok();
    })
}

async fn text(State(metrics): State<Arc<Metrics>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn state(unwell: Option<&'static str>) -> (StatusCode, &'static str) {
    unwell.map_or((StatusCode::OK, "ok"), |why| (StatusCode::SERVICE_UNAVAILABLE, why))
}
