//! Clear: Airflow's rules for what is taken back, and what that leads to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use orchestrator::{
    commands::{self, By, Choice, Clear, Only, Refused, RunChoice, TaskChoice},
    ids::RunId,
    prelude::*,
    state::{RunState, TaskState},
    worker::Settings,
};
use sqlx::PgPool;

use super::{gate::Gate, world::World};

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

fn clear_of(run: &RunId, tasks: &[&str], only: Only) -> Clear {
    let tasks = TaskChoice { named: tasks.iter().map(|task| (*task).into()).collect(), ..TaskChoice::default() };
    let choice = Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks };
    Clear { only, ..Clear::of(choice) }
}

/// Clears, and says which tasks it was.
async fn clear(world: &World, clear: &Clear) -> Result<Vec<String>, Refused> {
    let mut conn = world.pool.acquire().await.unwrap();
    let preview = commands::preview_clear(&mut conn, &world.graphs, clear).await?;
    let cleared = commands::clear(&mut conn, &world.graphs, clear, &By::test()).await?;
    assert_eq!(preview.len(), cleared.len(), "the preview showed something else");
    world.wake.worker();
    Ok(cleared.into_iter().map(|instance| instance.task_id.as_str().to_owned()).collect())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_failed_run_is_mended_by_clearing_what_failed(pool: PgPool) {
    let broken = Arc::new(AtomicUsize::new(1));
    let is_broken = Arc::clone(&broken);
    let dag = Dag::new("d");
    let bad = dag.task("bad", move |_: Context| {
        let broken = is_broken.load(Ordering::SeqCst) == 1;
        async move { if broken { anyhow::bail!("broken") } else { Ok(()) } }
    });
    dag.chain(dag.task("start", nothing) >> bad >> dag.task("end", nothing));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);

    broken.store(0, Ordering::SeqCst);
    let cleared = clear(&world, &clear_of(&run, &[], Only::Failed)).await.unwrap();
    assert_eq!(cleared, ["bad", "end"]);
    assert_eq!(world.run_state("d", &run).await, RunState::Queued);
    world.assert_counts().await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.tries("d", &run, "start").await.len(), 1, "what had succeeded ran again");
    assert_eq!(world.tries("d", &run, "bad").await.len(), 2);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn upstream_and_downstream_reach_through_all_levels(pool: PgPool) {
    let dag = Dag::new("d");
    let [a, b, c, e, aside] = ["a", "b", "c", "e", "aside"].map(|task| dag.task(task, nothing));
    dag.chain(a >> b >> c >> e);
    dag.chain(a >> aside);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.finished("d", &run).await;
    let cases = [
        ((false, true, Only::All), vec!["b", "c", "e"]),
        ((true, false, Only::All), vec!["a", "b"]),
        ((true, true, Only::All), vec!["a", "b", "c", "e"]),
        ((false, false, Only::All), vec!["b"]),
        ((true, true, Only::Failed), vec![]),
    ];
    for ((upstream, downstream, only), expected) in cases {
        let mut wanted = clear_of(&run, &["b"], only);
        (wanted.choice.tasks.upstream, wanted.choice.tasks.downstream) = (upstream, downstream);
        assert_eq!(clear(&world, &wanted).await.unwrap(), expected, "{wanted:?}");
        world.assert_counts().await;
        assert_eq!(world.finished("d", &run).await, RunState::Success);
    }
    worker.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_running_task_that_is_cleared_is_stopped_and_tried_again(pool: PgPool) {
    let (dag, gate) = (Dag::new("d"), Gate::closed());
    gate.task(&dag, "slow");
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    assert_eq!(clear(&world, &clear_of(&run, &[], Only::Running)).await.unwrap(), ["slow"]);
    assert_eq!(world.state("d", &run, "slow").await, TaskState::Restarting);
    // The heartbeat finds it, the body is dropped, and the scheduler queues the next try.
    world.reaches("d", &run, "slow", TaskState::UpForRetry).await;
    gate.opens_for(1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(gate.times(), 2);
    let states: Vec<_> = world.tries("d", &run, "slow").await.into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [TaskState::UpForRetry, TaskState::Success]);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_next_try_begins_when_what_the_last_one_must_still_do_is_done(pool: PgPool) {
    let (dag, [try_begins, cleans_up]) = (Dag::new("d"), [Gate::closed(), Gate::closed()]);
    dag.task("slow", {
        let gates = [try_begins.clone(), cleans_up.clone()];
        move |context: Context| {
            let [begins, cleans_up] = gates.clone();
            async move {
                let cancelled = context.cancelled().clone();
                context.see_through(async move {
                    cancelled.cancelled().await;
                    cleans_up.pass().await;
                });
                begins.pass().await;
                Ok(())
            }
        }
    });
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    try_begins.begun().await;
    clear(&world, &clear_of(&run, &[], Only::Running)).await.unwrap();
    cleans_up.begun().await;
    for _ in 0..20 {
        world.pass().await;
        tokio::task::yield_now().await;
        assert_eq!(world.state("d", &run, "slow").await, TaskState::Restarting);
    }
    assert_eq!(try_begins.times(), 1);
    // The second try ends by itself, and cleans up, too.
    cleans_up.opens_for(2);
    try_begins.opens_for(1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!((try_begins.times(), cleans_up.times()), (2, 2));
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_clear_that_makes_no_sense_is_refused(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("only", nothing);
    let world = World::new(pool, vec![dag]).await;
    let run = world.start("d").await;
    assert!(matches!(clear(&world, &clear_of(&run, &["other"], Only::All)).await, Err(Refused::NoTask(..))));
    assert!(matches!(clear(&world, &clear_of(&"other".into(), &[], Only::All)).await, Err(Refused::NoRun(..))));
    let mut elsewhere = clear_of(&run, &[], Only::All);
    elsewhere.choice.dag_id = "other".into();
    assert!(matches!(clear(&world, &elsewhere).await, Err(Refused::NoDag(_))));
    // A manual run without a logical date has no past.
    let mut past = clear_of(&run, &[], Only::All);
    past.choice.runs = RunChoice::Around { run_id: run.clone(), past: true, future: false };
    assert!(matches!(clear(&world, &past).await, Err(Refused::NoLogicalDate)));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_running_task_whose_upstream_is_cleared_too_waits_for_it(pool: PgPool) {
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (dag, gate) = (Dag::new("d"), Gate::closed());
    let (first_log, second_log, second_gate) = (Arc::clone(&order), Arc::clone(&order), gate.clone());
    let first = dag.task("first", move |_: Context| {
        first_log.lock().unwrap().push("first");
        async { Ok(7_u32) }
    });
    let second = move |_: Context, seven: u32| {
        second_log.lock().unwrap().push("second");
        let gate = second_gate.clone();
        async move {
            gate.pass().await;
            Ok(seven)
        }
    };
    dag.task("second", second.with(first));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    assert_eq!(clear(&world, &clear_of(&run, &[], Only::All)).await.unwrap(), ["first", "second"]);
    world.reaches("d", &run, "second", TaskState::UpForRetry).await;
    gate.opens_for(1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(*order.lock().unwrap(), ["first", "second", "first", "second"]);
    world.assert_counts().await;
}
