//! The GCS emulator, through the client that the programs use: what exactly-once rests on.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{path::Path, time::Duration};

use bucket::{Bucket, Error, Moved, Settings};
use bytes::Bytes;
use local::{gcs, ports::Ports};
use tokio_util::sync::CancellationToken;

struct Server {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    endpoint: String,
}

impl Server {
    async fn start(root: &Path) -> Self {
        let (port, stop) = (Ports::free().unwrap().gcs, CancellationToken::new());
        let (root, stopped) = (root.to_owned(), stop.clone());
        let task = tokio::spawn(async move { gcs::serve(&root, port, stopped).await });
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { stop, task, endpoint: format!("http://127.0.0.1:{port}") }
    }

    async fn bucket(&self) -> Bucket {
        let bucket =
            Bucket::open(&Settings { bucket: "lake".into(), endpoint: Some(self.endpoint.clone()) }).await.unwrap();
        bucket.ensure().await.unwrap();
        bucket
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.ok();
    }
}

#[tokio::test]
async fn of_sixteen_that_create_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let bucket = server.bucket().await;
    let tries = (0..16).map(|writer| {
        let bucket = bucket.clone();
        tokio::spawn(async move { bucket.create("_commits/a/0.json", Bytes::from(format!("{writer}"))).await })
    });
    let (mut won, mut lost) = (0, 0);
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.unwrap() {
            Ok(_) => won += 1,
            Err(Error::Precondition { .. }) => lost += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((won, lost), (1, 15));
    server.stop().await;
}

#[tokio::test]
async fn a_move_happens_once_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let bucket = server.bucket().await;
    let written = bucket.create("_staging/a b+c.parquet", Bytes::from_static(b"rows")).await.unwrap();
    let (from, to) = ("_staging/a b+c.parquet", "events_data/views/year=2026/f.parquet");
    assert_eq!(bucket.move_new(from, written.generation + 1, to).await.unwrap(), Moved::NoSource);
    assert_eq!(bucket.move_new(from, written.generation, to).await.unwrap(), Moved::Done);
    assert_eq!(bucket.move_new(from, written.generation, to).await.unwrap(), Moved::NoSource);
    let again = bucket.create(from, Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(bucket.move_new(from, again.generation, to).await.unwrap(), Moved::DestinationExists);
    assert_eq!(bucket.read(to).await.unwrap().unwrap(), Bytes::from_static(b"rows"));
    let found = bucket.stat(to).await.unwrap().unwrap();
    assert_eq!((found.size, found.crc32c), (4, written.crc32c));
    // The BigQuery emulator reads objects as plain files.
    assert_eq!(std::fs::read(folder.path().join("lake").join(to)).unwrap(), b"rows");
    server.stop().await;
}

#[tokio::test]
async fn listings_are_in_order_and_whole_beyond_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let bucket = server.bucket().await;
    for at in 0..1_005 {
        bucket.create(&format!("_commits/{at:05}.json"), Bytes::new()).await.unwrap();
    }
    bucket.create("_other/x", Bytes::new()).await.unwrap();
    let listed = bucket.list("_commits/", "").await.unwrap();
    assert_eq!(listed.len(), 1_005);
    assert!(listed.is_sorted_by_key(|object| &object.name));
    let from = bucket.list("_commits/", "_commits/01000.json").await.unwrap();
    assert_eq!((from.len(), from[0].name.as_str()), (5, "_commits/01000.json"));
    server.stop().await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_nothing_uncommitted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let bucket = server.bucket().await;
    let written = bucket.create("a/kept", Bytes::from_static(b"1")).await.unwrap();
    server.stop().await;
    // Data whose commit never came, as after a crash between the two.
    std::fs::write(folder.path().join("lake/a/torn"), b"half").unwrap();
    let server = Server::start(folder.path()).await;
    let bucket = server.bucket().await;
    let found = bucket.stat("a/kept").await.unwrap().unwrap();
    assert_eq!(found.generation, written.generation);
    assert!(bucket.stat("a/torn").await.unwrap().is_none());
    assert!(!folder.path().join("lake/a/torn").exists());
    let newer = bucket.create("a/new", Bytes::new()).await.unwrap();
    assert!(newer.generation > written.generation, "a generation was used twice");
    server.stop().await;
}

/// The client sends what is bigger than 16 MiB in parts.
#[tokio::test]
async fn big_objects_arrive_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let bucket = server.bucket().await;
    for megabytes in [15, 16, 17, 48, 50] {
        let data: Bytes = (0..megabytes << 18).flat_map(u32::to_le_bytes).collect::<Vec<_>>().into();
        let name = format!("big/{megabytes}");
        bucket.create(&name, data.clone()).await.unwrap();
        assert!(bucket.read(&name).await.unwrap().unwrap() == data, "{megabytes} MiB came back as something else");
        assert!(matches!(bucket.create(&name, data).await, Err(Error::Precondition { .. })), "{megabytes} MiB");
    }
    server.stop().await;
}

#[tokio::test]
async fn ranges_resumable_uploads_and_bad_names() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let bucket = server.bucket().await;
    let http = reqwest::Client::new();
    let upload = format!("{}/upload/storage/v1/b/lake/o?uploadType=resumable&name=big", server.endpoint);
    let begun = http.post(&upload).header("content-length", "0").send().await.unwrap();
    let session = begun.headers()["location"].to_str().unwrap().to_owned();
    let part = http.put(&session).header("content-range", "bytes 0-3/*").body("0123").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.headers()["range"].to_str().unwrap()), (308, "bytes=0-3"));
    let last = http.put(&session).header("content-range", "bytes 4-6/7").body("456").send().await.unwrap();
    assert!(last.status().is_success());
    assert_eq!(bucket.read("big").await.unwrap().unwrap(), Bytes::from_static(b"0123456"));

    let media = format!("{}/storage/v1/b/lake/o/big?alt=media", server.endpoint);
    for (range, status, body) in [("bytes=1-2", 206, "12"), ("bytes=-2", 206, "56"), ("bytes=9-", 416, "")] {
        let answer = http.get(&media).header("range", range).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (status, body), "{range}");
    }
    for name in ["../out", "/etc/passwd", "a/../../out", ""] {
        assert!(bucket.create(name, Bytes::new()).await.is_err(), "{name:?}");
    }
    server.stop().await;
}
