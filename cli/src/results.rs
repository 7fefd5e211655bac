//! Results that are too big for the database, in the bucket.

use std::sync::Arc;

use async_trait::async_trait;
use bucket::{Bucket, Error, Settings};
use orchestrator::overflow::Overflow;
use tokio::sync::OnceCell;

use crate::arguments::BucketOptions;

/// A bucket that is opened when it is needed: most workers never need it.
#[derive(Debug)]
struct Results {
    settings: Settings,
    bucket: OnceCell<Bucket>,
}

/// Where results go, if a bucket is named.
pub(crate) fn overflow(options: &BucketOptions) -> Option<Arc<dyn Overflow>> {
    let bucket = options.bucket.clone()?;
    let settings = Settings { bucket, endpoint: options.gcs_endpoint.clone() };
    Some(Arc::new(Results { settings, bucket: OnceCell::new() }))
}

impl Results {
    async fn bucket(&self) -> anyhow::Result<&Bucket> {
        self.bucket.get_or_try_init(|| Bucket::open(&self.settings)).await
    }
}

#[async_trait]
impl Overflow for Results {
    async fn put(&self, object: &str, json: Vec<u8>) -> anyhow::Result<()> {
        match self.bucket().await?.create(object, json.into()).await {
            // The name is this attempt's alone: an earlier request of ours came through, and its answer was lost.
            Ok(_) | Err(Error::Precondition { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn get(&self, object: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.bucket().await?.read(object).await?.map(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use local::{gcs, ports::Ports};
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn what_is_kept_twice_is_kept_once_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (port, stop) = (Ports::free().unwrap().gcs, CancellationToken::new());
        let (root, stopped) = (folder.path().to_owned(), stop.clone());
        tokio::spawn(async move { gcs::serve(&root, port, stopped).await });
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let endpoint = Some(format!("http://127.0.0.1:{port}"));
        let settings = Settings { bucket: "lake".to_owned(), endpoint: endpoint.clone() };
        Bucket::open(&settings).await.unwrap().ensure().await.unwrap();
        let results = overflow(&BucketOptions { bucket: Some("lake".to_owned()), gcs_endpoint: endpoint }).unwrap();
        for _ in 0..2 {
            results.put("_xcom/d/manual__2024-01-01T00:00:00+00:00/t/-1/a.json", b"[1]".to_vec()).await.unwrap();
        }
        let found = results.get("_xcom/d/manual__2024-01-01T00:00:00+00:00/t/-1/a.json").await.unwrap();
        assert_eq!(found.as_deref(), Some(b"[1]".as_slice()));
        assert!(results.get("_xcom/nothing.json").await.unwrap().is_none());
        assert!(overflow(&BucketOptions { bucket: None, gcs_endpoint: None }).is_none());
        stop.cancel();
    }
}
