//! Backfills: every slot between two dates, beside the schedule, with limits of their own.

use chrono::{DateTime, Utc};
use orchestrator::{
    commands::{self, Backfill, By, Choice, Clear, ManualRun, OnVersion, Refused, RunChoice, TaskChoice},
    ids::{BackfillId, RunId},
    prelude::*,
    state::{RunState, TaskState},
    store::backfills::Reprocess,
    worker::Settings,
};
use serde_json::json;
use sqlx::{PgPool, Row};

use super::world::World;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn week() -> Backfill {
    Backfill {
        dag_id: "d".into(),
        from_date: at("2026-01-01T00:00:00Z"),
        to_date: at("2026-01-07T12:00:00Z"),
        run_backwards: false,
        conf: Some(json!({ "why": "backfill" })),
        reprocess: Reprocess::None,
        version: OnVersion::Latest,
        max_active_runs: 2,
    }
}

fn daily() -> Dag {
    let dag = Dag::new("d").schedule(Schedule::cron("@daily")).max_active_runs(1);
    dag.task("only", async |context: Context| match context.conf()["fail"] == true {
        true => Err(anyhow::anyhow!("on purpose")),
        false => TaskResult::Ok(context.conf()["why"].clone()),
    });
    dag
}

async fn make(world: &World, backfill: &Backfill) -> Result<BackfillId, Refused> {
    let mut conn = world.pool.acquire().await.unwrap();
    commands::create_backfill(&mut conn, &world.graphs, backfill, &By::test()).await
}

/// The days of January of the runs that are in that state, in the order in which they started.
async fn days(world: &World, state: RunState) -> Vec<i32> {
    sqlx::query(
        "select extract(day from logical_date at time zone 'utc')::int from dag_run
         where state = $1 and backfill_id is not null order by start_date, backfill_ordinal",
    )
    .bind(state)
    .fetch_all(&world.pool)
    .await
    .unwrap()
    .into_iter()
    .map(|row| row.get(0))
    .collect()
}

async fn drain(world: &World, id: BackfillId) {
    let worker = world.worker(Settings::default());
    tokio::time::timeout(std::time::Duration::from_secs(60), async {
        let mut conn = world.pool.acquire().await.unwrap();
        while commands::find_backfill(&mut conn, id).await.unwrap().completed_at.is_none() {
            world.pass().await;
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    worker.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn every_slot_is_made_up_for_in_order_and_within_the_limit(pool: PgPool) {
    let world = World::new(pool, vec![daily()]).await;
    world.unpause("d").await;
    let mut conn = world.pool.acquire().await.unwrap();
    let planned = commands::preview_backfill(&mut conn, &world.graphs, &week()).await.unwrap();
    assert_eq!((planned.len(), planned[0]), (7, at("2026-01-01T00:00:00Z")));
    let id = make(&world, &week()).await.unwrap();
    assert!(matches!(make(&world, &week()).await, Err(Refused::BackfillExists(_))));
    // A run beside it has the DAG's own room.
    let beside = world.trigger("d", ManualRun::default()).await;
    assert_eq!(world.pass().await.promoted, 3);
    assert_eq!(days(&world, RunState::Running).await, [1, 2]);
    assert_eq!(world.pass().await.promoted, 0, "no more than two at once");
    drain(&world, id).await;
    assert_eq!(days(&world, RunState::Success).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(world.run_state("d", &beside).await, RunState::Success);
    let run = RunId::from("backfill__2026-01-03T00:00:00+00:00");
    assert_eq!(world.results("d", &run, "only").await, [json!("backfill")]);
    // A run of a backfill that has ended is one like any other when it is cleared.
    let tasks = TaskChoice::default();
    let choice = Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks };
    let clear = Clear::of(choice);
    commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap();
    assert_eq!(world.run_state("d", &run).await, RunState::Queued);
    assert_eq!(world.pass().await.promoted, 1);
    let worker = world.worker(Settings::default());
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    // There is nothing left to be made.
    assert!(commands::preview_backfill(&mut conn, &world.graphs, &week()).await.unwrap().is_empty());
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn runs_that_are_there_run_again_only_if_they_are_to(pool: PgPool) {
    let world = World::new(pool, vec![daily()]).await;
    world.unpause("d").await;
    let worker = world.worker(Settings::default());
    for (date, fails) in [("2026-01-02T00:00:00Z", true), ("2026-01-03T00:00:00Z", false)] {
        let conf = Some(json!({ "fail": fails, "why": "before" }));
        let run = ManualRun { logical_date: Some(at(date)), conf, ..ManualRun::default() };
        let run = world.trigger("d", run).await;
        world.finished("d", &run).await;
    }
    worker.stop().await;
    let mut conn = world.pool.acquire().await.unwrap();
    for (reprocess, slots) in [(Reprocess::None, 5), (Reprocess::Failed, 6), (Reprocess::Completed, 7)] {
        let backfill = Backfill { reprocess, ..week() };
        let planned = commands::preview_backfill(&mut conn, &world.graphs, &backfill).await.unwrap();
        assert_eq!(planned.len(), slots, "{reprocess:?}");
    }
    let id = make(&world, &Backfill { reprocess: Reprocess::Failed, run_backwards: true, ..week() }).await.unwrap();
    drain(&world, id).await;
    assert_eq!(days(&world, RunState::Success).await, [7, 6, 5, 4, 2, 1]);
    assert!(days(&world, RunState::Failed).await.is_empty());
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn runs_that_have_ended_run_again_on_their_own_version_or_on_the_latest(pool: PgPool) {
    let world = World::new(pool, vec![daily()]).await;
    world.unpause("d").await;
    let worker = world.worker(Settings::default());
    let dates = ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"].map(at);
    let mut runs = Vec::new();
    for date in dates {
        let before = ManualRun { logical_date: Some(date), ..ManualRun::default() };
        runs.push(world.trigger("d", before).await);
        assert_eq!(world.finished("d", &runs[runs.len() - 1]).await, RunState::Success);
    }
    worker.stop().await;
    let after = daily();
    after.task("new", async |_: Context| TaskResult::Ok(()));
    let world = World::new(world.pool, vec![after]).await;
    for (run, date, version) in [(&runs[0], dates[0], OnVersion::Own), (&runs[1], dates[1], OnVersion::Latest)] {
        let again = Backfill { reprocess: Reprocess::Completed, version, from_date: date, to_date: date, ..week() };
        let id = make(&world, &again).await.unwrap();
        drain(&world, id).await;
        assert_eq!(world.results("d", run, "only").await, [json!("backfill")], "{version:?}");
        let has_new = !world.instances("d", run, "new").await.is_empty();
        assert_eq!(has_new, version == OnVersion::Latest);
    }
    // Without a conf of its own it leaves them theirs, and new ones have none.
    let last = at("2026-01-04T00:00:00Z");
    let again = Backfill { reprocess: Reprocess::Completed, conf: None, from_date: dates[1], to_date: last, ..week() };
    let id = make(&world, &again).await.unwrap();
    drain(&world, id).await;
    assert_eq!(world.results("d", &runs[1], "only").await, [json!("backfill")]);
    let new = RunId::from("backfill__2026-01-04T00:00:00+00:00");
    assert_eq!(world.run_state("d", &new).await, RunState::Success);
    assert!(world.results("d", &new, "only").await.is_empty(), "it has no conf");
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backfill_is_paused_and_cancelled(pool: PgPool) {
    let world = World::new(pool, vec![daily()]).await;
    world.unpause("d").await;
    let id = make(&world, &week()).await.unwrap();
    assert_eq!(world.pass().await.promoted, 2);
    let mut conn = world.pool.acquire().await.unwrap();
    commands::pause_backfill(&mut conn, id, true, &By::test()).await.unwrap();
    let worker = world.worker(Settings::default());
    for day in ["01", "02"] {
        let run = RunId::from(format!("backfill__2026-01-{day}T00:00:00+00:00"));
        assert_eq!(world.finished("d", &run).await, RunState::Success);
    }
    assert_eq!(world.pass().await.promoted, 0);
    commands::cancel_backfill(&mut conn, &world.graphs, id, &By::test()).await.unwrap();
    assert_eq!(days(&world, RunState::Success).await, [1, 2]);
    assert_eq!(world.count("d", TaskState::Success).await, 2);
    let failed: i64 =
        sqlx::query_scalar("select count(*) from dag_run where state = 'failed'").fetch_one(&world.pool).await.unwrap();
    assert_eq!(failed, 5);
    let again = commands::pause_backfill(&mut conn, id, false, &By::test()).await;
    assert!(matches!(again, Err(Refused::BackfillCompleted(_))));
    worker.stop().await;
    assert!(make(&world, &Backfill { reprocess: Reprocess::Failed, ..week() }).await.is_ok(), "another one may follow");
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backfill_that_makes_no_sense_is_refused(pool: PgPool) {
    let unscheduled = Dag::new("unscheduled");
    unscheduled.task("only", async |_: Context| TaskResult::Ok(()));
    let past = Dag::new("past").schedule(Schedule::cron("@daily"));
    past.task("only", async |_: Context| TaskResult::Ok(())).depends_on_past();
    let world = World::new(pool, vec![daily(), unscheduled, past]).await;
    for (backfill, told) in [
        (Backfill { dag_id: "nobody".into(), ..week() }, "`nobody` was not found"),
        (Backfill { dag_id: "unscheduled".into(), ..week() }, "has no schedule"),
        (Backfill { dag_id: "past".into(), run_backwards: true, ..week() }, "in reverse"),
        (Backfill { from_date: at("2026-02-01T00:00:00Z"), ..week() }, "must not lie after"),
        (Backfill { max_active_runs: 0, ..week() }, "at least 1"),
        (Backfill { conf: Some(json!([])), ..week() }, "JSON object"),
        (Backfill { from_date: at("1990-01-01T00:00:00Z"), ..week() }, "more than 10000 slots"),
    ] {
        let refused = make(&world, &backfill).await.unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
    let made: i64 = sqlx::query_scalar("select count(*) from backfill").fetch_one(&world.pool).await.unwrap();
    assert_eq!(made, 0);
}
