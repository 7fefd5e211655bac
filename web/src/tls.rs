//! HTTPS of its own: `STREAMCOMMERCE_TLS_CERT` and `STREAMCOMMERCE_TLS_KEY`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use axum_server::tls_rustls::RustlsConfig;

/// How long a certificate that was renewed waits for its turn, if nobody says otherwise.
const RELOAD: Duration = Duration::from_secs(3_600);

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and those above it, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// The files are read again after so long, without a restart.
    pub reload: Duration,
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
            (Some(cert), Some(key)) => Ok(Some(Self { cert, key, reload: RELOAD })),
            _ => bail!("STREAMCOMMERCE_TLS_CERT and STREAMCOMMERCE_TLS_KEY belong together: set both, or none"),
        }
    }

    pub(crate) async fn config(&self) -> anyhow::Result<RustlsConfig> {
        let unfit = || format!("cannot serve HTTPS with {} and {}", self.cert.display(), self.key.display());
        RustlsConfig::from_pem_file(&self.cert, &self.key).await.with_context(unfit)
    }

    /// Reads the files again and again.
    pub(crate) async fn reload(&self, config: RustlsConfig) {
        loop {
            tokio::time::sleep(self.reload).await;
            if let Err(error) = config.reload_from_pem_file(&self.cert, &self.key).await {
                tracing::error!(%error, cert = %self.cert.display(), "the certificate cannot be read again; the one before stays");
            }
        }
    }
}
