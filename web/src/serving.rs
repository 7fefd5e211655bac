//! Connections and requests: how long they may take, and how the last ones end.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use axum_server::Handle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{api::ApiError, pages::PageError, tls::Tls};

/// How long open requests have when the server is to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// How long the server waits for others.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, on a new connection as on one that is kept open.
    pub head: Duration,
    /// For an answer to begin: for the body of the request, for a turn at the database, for the database.
    pub answer: Duration,
}

impl Default for Patience {
    /// A minute for a head (browsers keep connections open), two for an answer: the timeout of Airflow's API server.
    fn default() -> Self {
        Self { head: Duration::from_secs(60), answer: Duration::from_secs(120) }
    }
}

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    patience: Patience,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = router.layer(middleware::from_fn_with_state(patience, in_time)).layer(middleware::from_fn(with_host));
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let (listener, handle) = (listener.into_std()?, Handle::new());
    let serving = async {
        match tls {
            None => {
                let server = axum_server::from_tcp(listener)?.handle(handle.clone());
                patient(server, patience).serve(router).await?;
            }
            Some(tls) => {
                let config = tls.config().await?;
                let server = axum_server::from_tcp_rustls(listener, config.clone())?.handle(handle.clone());
                tokio::select! {
                    served = patient(server, patience).serve(router) => served?,
                    () = tls.reload(config) => {}
                }
            }
        }
        Ok(())
    };
    tokio::select! {
        served = serving => served,
        () = async {
            stop.cancelled().await;
            // A browser that keeps its connection open must not keep the server.
            handle.graceful_shutdown(Some(DRAIN));
            tokio::time::sleep(DRAIN).await;
        } => Ok(()),
    }
}

fn patient<A>(
    server: axum_server::Server<SocketAddr, A>,
    Patience { head, .. }: Patience,
) -> axum_server::Server<SocketAddr, A> {
    let mut server = server.first_request_timeout(head);
    server.http_builder().http1().header_read_timeout(head);
    server.http_builder().http2().keep_alive_interval(head);
    server
}

/// A request that is not answered in time is given up, and with it its turn and its transaction. Postgres goes on with the
/// statement that it is at, and its connection is free after it.
async fn in_time(State(Patience { answer, .. }): State<Patience>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let Ok(answered) = tokio::time::timeout(answer, next.run(request)).await else {
        let text = "the answer took too long and was given up: look whether what you asked for was done, and try again";
        return match is_api {
            true => ApiError::new(StatusCode::GATEWAY_TIMEOUT, text).into_response(),
            false => PageError::new(StatusCode::GATEWAY_TIMEOUT, text).into_response(),
        };
    };
    answered
}

/// In HTTP/2 the host stands in the address; what we ask of it, we ask of the header.
async fn with_host(mut request: Request, next: Next) -> Response {
    let host = request.uri().authority().map(|host| host.as_str().to_owned());
    if let Some(host) = host.and_then(|host| host.parse().ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    next.run(request).await
}
