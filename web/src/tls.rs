//! HTTPS of its own: `STREAMCOMMERCE_TLS_CERT` and `STREAMCOMMERCE_TLS_KEY`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use axum::{Router, extract::Request, http::header, middleware::Next, response::Response};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::DRAIN;

/// A certificate that was renewed counts after so long, without a restart.
const RELOAD: Duration = Duration::from_secs(3_600);

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and those above it, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

impl Tls {
    /// As the settings say; none if there are none.
    ///
    /// # Errors
    /// One is set without the other.
    pub fn from_env() -> anyhow::Result<Option<Self>> {
        let setting = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        match (setting("STREAMCOMMERCE_TLS_CERT"), setting("STREAMCOMMERCE_TLS_KEY")) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => Ok(Some(Self { cert, key })),
            _ => bail!("STREAMCOMMERCE_TLS_CERT and STREAMCOMMERCE_TLS_KEY belong together: set both, or none"),
        }
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        router: Router,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let unfit = || format!("cannot serve HTTPS with {} and {}", self.cert.display(), self.key.display());
        let config = RustlsConfig::from_pem_file(&self.cert, &self.key).await.with_context(unfit)?;
        let (handle, router) = (Handle::new(), router.layer(axum::middleware::from_fn(with_host)));
        let serving = axum_server::from_tcp_rustls(listener.into_std()?, config.clone())?.handle(handle.clone());
        tokio::select! {
            served = serving.serve(router.into_make_service_with_connect_info::<SocketAddr>()) => return Ok(served?),
            () = self.reload(config) => {}
            () = async {
                stop.cancelled().await;
                handle.graceful_shutdown(Some(DRAIN));
                tokio::time::sleep(DRAIN).await;
            } => {}
        }
        Ok(())
    }

    async fn reload(&self, config: RustlsConfig) {
        loop {
            tokio::time::sleep(RELOAD).await;
            if let Err(error) = config.reload_from_pem_file(&self.cert, &self.key).await {
                tracing::error!(%error, cert = %self.cert.display(), "the certificate cannot be read again; the one before stays");
            }
        }
    }
}

/// In HTTP/2 the host stands in the address; what we ask of it, we ask of the header.
async fn with_host(mut request: Request, next: Next) -> Response {
    let host = request.uri().authority().map(|host| host.as_str().to_owned());
    if let Some(host) = host.and_then(|host| host.parse().ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    next.run(request).await
}
