//! The GCS emulator: the JSON API with preconditions, generations, listings, ranges, resumable uploads and `moveTo`,
//! durable on disk. An object is the plain file `<root>/<bucket>/<object>`, so that the BigQuery emulator reads it;
//! what is known about it lies beside the buckets.
//!
//! A limit of plain files: `a` and `a/b` cannot both be objects.

mod disk;
mod http;
mod object;
mod upload;

use std::{path::Path, sync::Arc};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::{disk::Disk, http::Emulator};

/// Serves the emulator from `root` until `stop`.
///
/// # Errors
/// The folder cannot be read, or the port cannot be bound.
pub async fn serve(root: &Path, port: u16, stop: CancellationToken) -> anyhow::Result<()> {
    let disk = Disk::open(root).with_context(|| format!("cannot open the objects in {}", root.display()))?;
    let listener = TcpListener::bind((crate::ports::HOST, port))
        .await
        .with_context(|| format!("the GCS emulator cannot listen on port {port}"))?;
    let router = http::router(Arc::new(Emulator::new(disk, listener.local_addr()?)));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}
