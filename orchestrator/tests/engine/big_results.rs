//! Results that are too big for the database are objects in a bucket; whoever takes them sees no difference.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestrator::{overflow::Overflow, prelude::*, state::RunState, worker::Settings};
use serde_json::json;
use sqlx::{PgPool, Row};

use super::world::World;

/// The bucket has tests of its own; here a folder will do.
#[derive(Debug)]
struct Folder(PathBuf);

#[async_trait]
impl Overflow for Folder {
    async fn put(&self, object: &str, json: Vec<u8>) -> anyhow::Result<()> {
        let path = self.0.join(object);
        std::fs::create_dir_all(path.parent().unwrap())?;
        Ok(std::fs::write(path, json)?)
    }

    async fn get(&self, object: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(std::fs::read(self.0.join(object)).ok())
    }
}

/// A bucket that takes requests and does not answer.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Overflow for Silent {
    async fn put(&self, _: &str, _: Vec<u8>) -> anyhow::Result<()> {
        std::future::pending().await
    }

    async fn get(&self, _: &str) -> anyhow::Result<Option<Vec<u8>>> {
        std::future::pending().await
    }
}

const BIG: usize = 600_000;

async fn texts(_: Context) -> TaskResult<Vec<String>> {
    Ok(["a", "b", "c"].map(|letter| letter.repeat(BIG)).into())
}

async fn sum(_: Context, texts: Vec<String>) -> TaskResult<usize> {
    Ok(texts.iter().map(String::len).sum())
}

async fn twice(_: Context, text: String) -> TaskResult<String> {
    Ok(format!("{}{text}{text}", &text[..1]))
}

async fn first(_: Context, text: String) -> TaskResult<String> {
    Ok(text[..1].to_owned())
}

fn dag() -> Dag {
    let dag = Dag::new("d");
    let texts = dag.task("texts", texts);
    dag.task("sum", sum.with(texts));
    let twice = dag.task("twice", twice.expand(texts));
    dag.task("sum_of_mapped", sum.with(twice));
    dag.task("first_of_mapped", first.expand(twice));
    dag
}

#[sqlx::test(migrations = "../migrations")]
async fn they_are_taken_mapped_over_and_collected(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let overflow: Arc<dyn Overflow> = Arc::new(Folder(folder.path().to_owned()));
    let world = World::new(pool, vec![dag()]).await;
    let worker = world.worker(Settings { overflow: Some(overflow), ..Settings::default() });
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.results("d", &run, "sum").await, [json!(3 * BIG)]);
    assert_eq!(world.results("d", &run, "sum_of_mapped").await, [json!(3 * (2 * BIG + 1))]);
    assert_eq!(world.results("d", &run, "first_of_mapped").await, [json!("a"), json!("b"), json!("c")]);
    let rows = sqlx::query("select object, items, pg_column_size(value) as bytes from xcom where object is not null");
    let rows = rows.fetch_all(&world.pool).await.unwrap();
    assert_eq!(rows.len(), 4, "the list, and what the three mapped ones returned");
    assert_eq!(rows.iter().filter_map(|row| row.get::<Option<i32>, _>("items")).collect::<Vec<_>>(), [3]);
    for row in &rows {
        assert!(row.get::<i32, _>("bytes") < 100 && folder.path().join(row.get::<String, _>("object")).is_file());
    }
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn without_a_bucket_the_try_says_what_to_do(pool: PgPool) {
    let world = World::new(pool, vec![dag()]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let cause = world.tries("d", &run, "texts").await[0].1.clone().unwrap();
    assert!(
        cause.starts_with("the task returned 1800010 bytes of JSON") && cause.contains("STREAMCOMMERCE_BUCKET"),
        "{cause}"
    );
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_bucket_that_does_not_answer_holds_a_try_no_longer_than_its_timeout(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("texts", texts).execution_timeout(Duration::from_millis(300));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings { overflow: Some(Arc::new(Silent)), ..Settings::default() });
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let cause = world.tries("d", &run, "texts").await[0].1.clone().unwrap();
    assert!(cause.contains("longer than its execution timeout"), "{cause}");
    world.assert_counts().await;
}
