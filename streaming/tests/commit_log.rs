//! The commit log against the GCS emulator: crashes at each step, races, a topic made anew, retention.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{path::Path, time::Duration};

use bucket::{Bucket, Settings};
use bytes::Bytes;
use chrono::Utc;
use lake::{
    Event, Manifest,
    layout::{self, LogId},
    manifest::RangeKind,
};
use local::{gcs, ports::Ports};
use streaming::{
    commit_log::{CommitEnd, CommitLogs, Head, InKafka},
    dead_letters::Envelope,
    decode::Decoder,
    range::{ClosedRange, OpenRange, Room},
    rows::Position,
    settings::Placement,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const TOPIC_ID: Option<Uuid> = Some(Uuid::from_u128(7));
const KAFKA: InKafka = InKafka { topic_id: TOPIC_ID, low: 0, high: 1_000 };

struct World {
    bucket: Bucket,
    logs: CommitLogs,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, stop) = (Ports::free().unwrap().gcs, CancellationToken::new());
        let (root, stopped): (_, _) = (Path::to_owned(folder.path()), stop.clone());
        tokio::spawn(async move { gcs::serve(&root, port, stopped).await });
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let endpoint = Some(format!("http://127.0.0.1:{port}"));
        let bucket = Bucket::open(&Settings { bucket: "lake".into(), endpoint }).await.unwrap();
        bucket.ensure().await.unwrap();
        Self { logs: CommitLogs::new(bucket.clone()), bucket, stop, _folder: folder }
    }

    async fn names(&self, prefix: &str) -> Vec<String> {
        self.bucket.list(prefix, "").await.unwrap().into_iter().map(|object| object.name).collect()
    }

    async fn manifest(&self, start: i64) -> Manifest {
        let contents = self.bucket.read(&log().manifest(start)).await.unwrap().unwrap();
        serde_json::from_slice(&contents).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn log() -> LogId {
    LogId { app: "shop".into(), topic: "website_traffic".into(), epoch: 1, partition: 0 }
}

/// A range of `records` records from `head` on, every tenth of them broken.
fn range(head: Head, records: i64) -> ClosedRange {
    let mut open = OpenRange::new(Event::Traffic, log(), Placement::default(), head.next, head.last_start);
    read(&mut open, records);
    open.close().unwrap().unwrap()
}

fn read(open: &mut OpenRange, records: i64) {
    let mut decoder = Decoder::new(Event::Traffic);
    for offset in open.next()..open.next() + records {
        let good = br#"{"pageUrl":"/home","visitCount":1,"lastVisit":"2026-11-22T12:00:00"}"#.as_slice();
        let value = if offset % 10 == 9 { b"{".as_slice() } else { good };
        let at = Position { topic: "website_traffic", partition: 0, offset, timestamp_ms: Some(0) };
        open.read(&mut decoder, Some(Envelope::bare(value)), at, Utc::now).unwrap();
    }
}

#[tokio::test]
async fn ranges_follow_each_other_and_their_files_become_visible() {
    let world = World::new().await;
    let head = world.logs.take_over(&log(), InKafka { topic_id: TOPIC_ID, low: 7, high: 1_000 }, None).await.unwrap();
    assert_eq!(head, Head { next: 7, last_start: None });
    assert_eq!(world.logs.commit(range(head, 13), Vec::new()).await.unwrap(), CommitEnd::Committed);
    let next = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    assert_eq!(next, Head { next: 20, last_start: Some(7) });
    assert_eq!(world.logs.commit(range(next, 5), Vec::new()).await.unwrap(), CommitEnd::Committed);
    let (first, second) = (world.manifest(7).await, world.manifest(20).await);
    assert_eq!((first.end, second.prev_start), (second.start, Some(first.start)));
    assert_eq!((first.counts.valid, first.counts.invalid), (11, 2));
    assert_eq!(world.names("events_data/").await.len(), 2);
    assert_eq!(world.names("_dlq/").await.len(), 1);
    assert!(world.names("_staging/").await.is_empty());
}

#[tokio::test]
async fn of_two_owners_one_commits_and_the_other_goes_on_after_it() {
    let world = World::new().await;
    let head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    let ends =
        tokio::join!(world.logs.commit(range(head, 30), Vec::new()), world.logs.commit(range(head, 50), Vec::new()));
    let ends = [ends.0.unwrap(), ends.1.unwrap()];
    let committed = world.manifest(0).await;
    let lost = ends.iter().filter(|end| **end == CommitEnd::Lost { end: committed.end }).count();
    assert_eq!((ends.iter().filter(|end| **end == CommitEnd::Committed).count(), lost), (1, 1), "{ends:?}");
    // Readers see the winner's rows, once.
    let visible = world.names("events_data/").await;
    assert_eq!(visible, [committed.files[0].published.clone()]);
}

#[tokio::test]
async fn what_was_committed_and_not_published_is_published_by_the_next_owner() {
    let world = World::new().await;
    let head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    assert_eq!(world.logs.commit(range(head, 20), Vec::new()).await.unwrap(), CommitEnd::Committed);
    // As it was between the manifest and the publishing: the file still lies in staging.
    let mut manifest = world.manifest(0).await;
    let data = world.bucket.read(&manifest.files[0].published).await.unwrap().unwrap();
    let next = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    manifest.start = next.next;
    manifest.end = next.next + 20;
    manifest.writer = uuid::Uuid::new_v4();
    manifest.dead_letters.clear();
    manifest.counts.read -= manifest.counts.invalid;
    manifest.counts.absent += manifest.counts.invalid;
    manifest.counts.invalid = 0;
    let staged = layout::staging("shop", uuid::Uuid::new_v4());
    manifest.files[0].staging_generation = world.bucket.create(&staged, data).await.unwrap().generation;
    manifest.files[0].staging = staged;
    manifest.files[0].published = "events_data/traffic/late.parquet".to_owned();
    let json = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    world.bucket.create(&log().manifest(next.next), json).await.unwrap();

    let head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    assert_eq!(head.next, 40);
    assert!(world.names("events_data/traffic/late").await.len() == 1 && world.names("_staging/").await.is_empty());
    // Publishing again is done already.
    world.logs.publish(&manifest).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_nowhere_stops_the_partition() {
    let world = World::new().await;
    let head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    world.logs.commit(range(head, 5), Vec::new()).await.unwrap();
    let mut manifest = world.manifest(0).await;
    manifest.files[0].published = "events_data/traffic/gone.parquet".to_owned();
    let error = world.logs.publish(&manifest).await.unwrap_err().to_string();
    assert!(error.contains("neither there nor at"), "{error}");
}

#[tokio::test]
async fn a_topic_made_anew_is_refused_and_a_loss_is_written_down() {
    let world = World::new().await;
    let head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    world.logs.commit(range(head, 50), Vec::new()).await.unwrap();
    let refused = world
        .logs
        .take_over(&log(), InKafka { topic_id: TOPIC_ID, low: 0, high: 10 }, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("STREAMCOMMERCE_TOPIC_EPOCH"), "{refused}");
    // One that has outgrown the old head is known by its id alone.
    let other = InKafka { topic_id: Some(Uuid::from_u128(8)), low: 0, high: 1_000 };
    let refused = world.logs.take_over(&log(), other, None).await.unwrap_err().to_string();
    assert!(refused.contains(&Uuid::from_u128(7).to_string()) && refused.contains("made anew"), "{refused}");
    let head = world.logs.take_over(&log(), InKafka { topic_id: TOPIC_ID, low: 80, high: 100 }, None).await.unwrap();
    assert_eq!(head, Head { next: 80, last_start: Some(50) });
    let gap = world.manifest(50).await;
    assert_eq!((gap.kind, gap.end, gap.counts.absent), (RangeKind::Gap, 80, 30));
    assert_eq!(gap.fault(), None);
}

#[tokio::test]
async fn what_was_uploaded_to_make_room_is_committed_with_its_range_and_not_before() {
    let world = World::new().await;
    let head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    let mut open = OpenRange::new(Event::Traffic, log(), Placement::default(), head.next, head.last_start);
    let mut staged = Vec::new();
    for _ in 0..2 {
        read(&mut open, 30);
        while let Room::File(file) = open.make_room().unwrap() {
            staged.push(world.logs.stage("shop", &file).await.unwrap());
        }
    }
    read(&mut open, 20);
    assert!(world.names("events_data/").await.is_empty() && world.names("_dlq/").await.is_empty());
    assert_eq!(world.logs.commit(open.close().unwrap().unwrap(), staged).await.unwrap(), CommitEnd::Committed);
    let manifest = world.manifest(0).await;
    let rows: Vec<_> = manifest.files.iter().map(|file| (file.first_offset, file.rows)).collect();
    let dead: Vec<_> = manifest.dead_letters.iter().map(|file| (file.first_offset, file.rows)).collect();
    assert_eq!((rows, dead), (vec![(0, 27), (30, 27), (60, 18)], vec![(9, 3), (39, 3), (69, 2)]));
    assert!(
        manifest
            .files
            .iter()
            .zip(["000", "001", "002"])
            .all(|(file, number)| file.published.contains(&format!(".{number}.parquet")))
    );
    assert_eq!((world.names("events_data/").await.len(), world.names("_dlq/").await.len()), (3, 3));
}

#[tokio::test]
async fn a_hint_is_believed_only_as_far_as_the_log_goes() {
    let world = World::new().await;
    let mut head = world.logs.take_over(&log(), KAFKA, Some(77)).await.unwrap();
    assert_eq!(head.next, 0, "a hint of another log");
    for _ in 0..3 {
        world.logs.commit(range(head, 10), Vec::new()).await.unwrap();
        head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    }
    for hint in [None, Some(0), Some(10), Some(20), Some(25), Some(500)] {
        let found = world.logs.take_over(&log(), KAFKA, hint).await.unwrap();
        assert_eq!(found, Head { next: 30, last_start: Some(20) }, "{hint:?}");
    }
}

#[tokio::test]
async fn what_an_operator_skips_is_written_down_and_drops_what_was_read_of_it() {
    let world = World::new().await;
    let head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    world.logs.commit(range(head, 10), Vec::new()).await.unwrap();
    let head = world.logs.take_over(&log(), KAFKA, None).await.unwrap();
    let open = range(head, 20);
    assert!(world.logs.skip(&log(), 10).await.is_err(), "there is nothing to skip");
    assert_eq!(world.logs.skip(&log(), 100).await.unwrap(), Some(90));
    assert_eq!(world.logs.commit(open, Vec::new()).await.unwrap(), CommitEnd::Lost { end: 100 });
    let skip = world.manifest(10).await;
    assert_eq!((skip.kind, skip.end, skip.counts.absent, skip.fault()), (RangeKind::Skip, 100, 90, None));
    assert_eq!(world.logs.take_over(&log(), KAFKA, None).await.unwrap(), Head { next: 100, last_start: Some(10) });
    assert_eq!(world.names("events_data/").await.len(), 1);
}
