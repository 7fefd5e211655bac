//! Waiting for another DAG, on a real Postgres.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use operators::WaitFor;
use orchestrator::{
    commands::{self, By, ManualRun, MarkedRun},
    dag::Registry,
    engine::Graphs,
    ids::RunId,
    prelude::*,
    scheduler::{Scheduler, register},
    store,
    wake::Wake,
    worker::{Settings, Worker},
};
use sqlx::{PgPool, Row};
use tokio_util::sync::CancellationToken;

struct World {
    pool: PgPool,
    graphs: Graphs,
    scheduler: Scheduler,
    stop: CancellationToken,
}

impl World {
    async fn new(pool: PgPool) -> Self {
        let load = Dag::new("load");
        load.task("to_warehouse", async |context: Context| match context.conf()["fail"] == true {
            true => Err(anyhow::anyhow!("on purpose")),
            false => TaskResult::Ok(()),
        });
        let report = Dag::new("report");
        report.task("task", WaitFor::task("load", "to_warehouse").earlier(TimeDelta::hours(1)));
        report.task("dag", WaitFor::dag("load").earlier(TimeDelta::hours(1)));
        let registry = Arc::new(Registry::build(vec![load, report]).unwrap());
        let mut conn = pool.acquire().await.unwrap();
        store::ensure_partitions(&mut conn).await.unwrap();
        register(&mut conn, &registry).await.unwrap();
        let (graphs, wake, stop) = (Graphs::default(), Wake::default(), CancellationToken::new());
        for dag in ["load", "report"] {
            commands::set_paused(&mut conn, &graphs, &dag.into(), false, &By::test()).await.unwrap();
        }
        drop(conn);
        let scheduler = Scheduler::new(pool.clone(), Arc::clone(&registry), graphs.clone(), wake.clone());
        let worker = Worker::new(pool.clone(), registry, graphs.clone(), wake, Settings::default());
        tokio::spawn(worker.run(stop.clone()));
        Self { pool, graphs, scheduler, stop }
    }

    async fn trigger(&self, dag: &str, date: DateTime<Utc>, conf: serde_json::Value) -> RunId {
        let mut conn = self.pool.acquire().await.unwrap();
        let run = ManualRun { logical_date: Some(date), conf: Some(conf), ..ManualRun::default() };
        commands::trigger(&mut conn, &self.graphs, &dag.into(), run, &By::test()).await.unwrap()
    }

    /// Passes until the states of a run's tasks are these.
    async fn reaches(&self, run: &RunId, wanted: &str) {
        let reached = tokio::time::timeout(std::time::Duration::from_secs(60), async {
            loop {
                let mut conn = self.pool.acquire().await.unwrap();
                sqlx::query("update task_instance set due_at = now() where state = 'up_for_reschedule'")
                    .execute(&mut *conn)
                    .await
                    .unwrap();
                let now = store::now(&mut conn).await.unwrap();
                self.scheduler.run_once(&mut conn, now).await.unwrap();
                let row = sqlx::query(
                    "select string_agg(distinct t.state::text, ' ') from task_instance t join dag_run r using (run_key)
                     where r.run_id = $1",
                );
                let found: String = row.bind(run.as_str()).fetch_one(&mut *conn).await.unwrap().get(0);
                if found == wanted {
                    return;
                }
            }
        });
        reached.await.unwrap_or_else(|_| panic!("{run} never had all of its tasks {wanted}"));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn it_waits_until_the_other_dag_has_done_its_work_and_fails_with_it(pool: PgPool) {
    let world = World::new(pool).await;
    let date = Utc::now();
    let report = world.trigger("report", date, serde_json::json!({})).await;
    world.reaches(&report, "up_for_reschedule").await;
    world.trigger("load", date - TimeDelta::hours(1), serde_json::json!({})).await;
    world.reaches(&report, "success").await;
    let later = date + TimeDelta::days(1);
    let report = world.trigger("report", later, serde_json::json!({})).await;
    world.trigger("load", later - TimeDelta::hours(1), serde_json::json!({ "fail": true })).await;
    world.reaches(&report, "failed").await;
    // The run's state tells of a run: one that was given up before its tasks began has none that failed.
    let aborted = date + TimeDelta::days(2);
    let load = world.trigger("load", aborted - TimeDelta::hours(1), serde_json::json!({})).await;
    let mut conn = world.pool.acquire().await.unwrap();
    commands::mark_run(&mut conn, &world.graphs, &"load".into(), &load, MarkedRun::Failed, &By::test()).await.unwrap();
    drop(conn);
    let report = world.trigger("report", aborted, serde_json::json!({})).await;
    world.reaches(&report, "failed success").await;
    world.stop.cancel();
}
