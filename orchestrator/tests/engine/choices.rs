//! Branches, short-circuits, setups and teardowns through real bodies; what ends a run before its time.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use orchestrator::{
    commands::{self, By, Choice, Clear, Mark, Marked, MarkedRun, RunChoice, TaskChoice},
    ids::RunId,
    prelude::*,
    state::{RunState, TaskState},
    worker::Settings,
};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use super::world::World;

async fn nothing(_: Context) -> TaskResult<()> {
    Ok(())
}

fn choice(run: &RunId, tasks: &[&str]) -> Choice {
    let tasks = TaskChoice { named: tasks.iter().map(|task| (*task).into()).collect(), ..TaskChoice::default() };
    Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks }
}

async fn states(world: &World, run: &RunId, tasks: &[&str]) -> Vec<TaskState> {
    let mut states = Vec::new();
    for task in tasks {
        states.push(world.state("d", run, task).await);
    }
    states
}

#[sqlx::test(migrations = "../migrations")]
async fn a_branch_runs_what_it_chose_and_a_clear_finds_its_choice_again(pool: PgPool) {
    let dag = Dag::new("d");
    let choose = dag.task("choose", async |_: Context| TaskResult::Ok(Branch::to(["chosen"])));
    let [chosen, other, after_other] = ["chosen", "other", "after_other"].map(|task| dag.task(task, nothing));
    let join = dag.task("join", nothing).trigger_rule(TriggerRule::NoneFailedMinOneSuccess);
    dag.chain(choose >> (chosen, other) >> join);
    dag.chain(other >> after_other);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    let tasks = ["chosen", "other", "after_other", "join"];
    let expected = [TaskState::Success, TaskState::Skipped, TaskState::Skipped, TaskState::Success];
    assert_eq!(states(&world, &run, &tasks).await, expected);

    let clear = Clear::of(choice(&run, &["other"]));
    let mut conn = world.pool.acquire().await.unwrap();
    commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap();
    drop(conn);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!(world.state("d", &run, "other").await, TaskState::Skipped, "the branch had not chosen it");
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_branch_runs_the_group_that_it_chose(pool: PgPool) {
    let dag = Dag::new("d");
    let choose = dag.task("choose", async |_: Context| TaskResult::Ok(Branch::to(["full"])));
    let [full, fast] = ["full", "fast"].map(|group| dag.group(group));
    for group in [full, fast] {
        dag.chain(group.task("first", nothing) >> group.task("then", nothing));
        group.task("beside", nothing);
        dag.chain(choose >> group);
    }
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    let of = |group: &str| ["first", "then", "beside"].map(|task| format!("{group}.{task}"));
    for (group, expected) in [("full", TaskState::Success), ("fast", TaskState::Skipped)] {
        let names = of(group);
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(states(&world, &run, &names).await, [expected; 3], "{group}");
    }
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_branch_to_a_task_that_does_not_follow_it_fails_with_the_names(pool: PgPool) {
    let dag = Dag::new("d");
    let choose = dag.task("choose", async |_: Context| TaskResult::Ok(Branch::to(["elsewhere"])));
    dag.chain(choose >> [dag.task("a", nothing), dag.task("b", nothing)]);
    dag.task("elsewhere", nothing);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let (_, cause) = world.tries("d", &run, "choose").await.remove(0);
    let expected = "the branch chose elsewhere, which does not come directly after it; a, b do";
    assert_eq!(cause.unwrap(), expected);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_short_circuit_skips_all_that_follows_or_only_what_follows_directly(pool: PgPool) {
    let dag = Dag::new("d");
    let stop = dag.task("stop", async |_: Context| TaskResult::Ok(ShortCircuit::go_on_if(false)));
    let soft = async |_: Context| TaskResult::Ok(ShortCircuit::go_on_if(false).respecting_trigger_rules());
    let [a, b, c, e, up] = ["a", "b", "c", "e", "up"].map(|task| dag.task(task, nothing));
    let soft = dag.task("soft", soft);
    let down = dag.task("down", nothing).as_teardown(up);
    dag.chain(stop >> a >> b.trigger_rule(TriggerRule::AllDone));
    dag.chain(soft >> c >> e.trigger_rule(TriggerRule::AllDone));
    dag.chain(up >> soft >> down);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    let expected = [TaskState::Skipped, TaskState::Skipped, TaskState::Skipped, TaskState::Success];
    assert_eq!(states(&world, &run, &["a", "b", "c", "e"]).await, expected);
    assert_eq!(world.state("d", &run, "down").await, TaskState::Success, "a teardown is never short-circuited");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_that_is_marked_is_torn_down(pool: PgPool) {
    let dag = Dag::new("d");
    let setup = dag.task("setup", nothing);
    let work = dag.task("work", async |context: Context| {
        context.cancelled().cancelled().await;
        TaskResult::Ok(())
    });
    dag.chain(setup >> work >> dag.task("later", nothing) >> dag.task("teardown", nothing).as_teardown(setup));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    for (mark, ends, work) in [
        (MarkedRun::Failed, RunState::Failed, TaskState::Failed),
        (MarkedRun::Success, RunState::Success, TaskState::Success),
    ] {
        let run = world.start("d").await;
        world.reaches("d", &run, "work", TaskState::Running).await;
        let mut conn = world.pool.acquire().await.unwrap();
        commands::mark_run(&mut conn, &world.graphs, &"d".into(), &run, mark, &By::test()).await.unwrap();
        drop(conn);
        assert_eq!(world.finished("d", &run).await, ends);
        let expected = [TaskState::Success, work, TaskState::Skipped, TaskState::Success];
        assert_eq!(states(&world, &run, &["setup", "work", "later", "teardown"]).await, expected);
    }
    worker.stop().await;
    // One that never started has nothing to tear down, and ends at once.
    let run = world.trigger("d", commands::ManualRun::default()).await;
    let mut conn = world.pool.acquire().await.unwrap();
    commands::mark_run(&mut conn, &world.graphs, &"d".into(), &run, MarkedRun::Failed, &By::test()).await.unwrap();
    drop(conn);
    assert_eq!(world.run_state("d", &run).await, RunState::Failed);
    assert_eq!(world.state("d", &run, "teardown").await, TaskState::Skipped);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_skipped_or_returned_nothing_is_none(pool: PgPool) {
    let dag = Dag::new("d");
    let choose = dag.task("choose", async |_: Context| TaskResult::Ok(Branch::to(["left"])));
    let number = async |_: Context| TaskResult::Ok(Some(7));
    let (left, right) = (dag.task("left", number), dag.task("right", number));
    let nothing = dag.task("nothing", async |_: Context| TaskResult::Ok(None::<i32>));
    let join = async |_: Context, left: Option<i32>, right: Option<i32>, nothing: Option<i32>| {
        TaskResult::Ok((left, right, nothing))
    };
    dag.task("join", join.with((left, right, nothing))).trigger_rule(TriggerRule::NoneFailedMinOneSuccess);
    dag.chain(choose >> (left, right));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success, "{:?}", world.tries("d", &run, "join").await);
    worker.stop().await;
    assert_eq!(world.results("d", &run, "join").await, [serde_json::json!([7, null, null])]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_teardown_runs_after_a_failure_and_does_not_hide_it(pool: PgPool) {
    let dag = Dag::new("d");
    let setup = dag.task("setup", nothing);
    let work = dag.task("work", async |_: Context| -> TaskResult<()> { anyhow::bail!("broken") });
    let teardown = dag.task("teardown", nothing).as_teardown(setup);
    dag.chain(setup >> work >> teardown);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    assert_eq!(world.state("d", &run, "teardown").await, TaskState::Success);

    // What was torn down is made again before the work is tried again.
    let mut conn = world.pool.acquire().await.unwrap();
    let clear = Clear::of(choice(&run, &["work"]));
    let cleared = commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap();
    assert_eq!(cleared.len(), 3, "{cleared:?}");
    // As if it had worked.
    let mark = Mark { choice: choice(&run, &["work"]), state: Marked::Success };
    commands::mark(&mut conn, &world.graphs, &mark, &By::test()).await.unwrap();
    drop(conn);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.tries("d", &run, "setup").await.len(), 2);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn nothing_is_torn_down_while_something_uses_it(pool: PgPool) {
    let dag = Dag::new("d");
    let goes_on = Arc::new(Semaphore::new(0));
    let setup = dag.task("setup", nothing);
    let breaks = dag.task("breaks", async |_: Context| -> TaskResult<()> { anyhow::bail!("broken") }).retries(0);
    let gate = Arc::clone(&goes_on);
    let uses = dag.task("uses", move |_: Context| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            TaskResult::Ok(())
        }
    });
    let join = dag.task("join", nothing);
    dag.chain(setup >> (breaks, uses) >> join >> dag.task("teardown", nothing).as_teardown(setup));
    dag.chain(uses >> dag.task("aside", nothing));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.reaches("d", &run, "join", TaskState::UpstreamFailed).await;
    assert_eq!(states(&world, &run, &["uses", "teardown"]).await, [TaskState::Running, TaskState::None]);
    goes_on.add_permits(1);
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let expected = [TaskState::Success, TaskState::Success, TaskState::Success];
    assert_eq!(states(&world, &run, &["uses", "aside", "teardown"]).await, expected);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_trigger_rule_has_the_last_word_over_the_setup_directly_before_it(pool: PgPool) {
    let dag = Dag::new("d");
    let setup = dag.task("setup", async |_: Context| -> TaskResult<()> { anyhow::bail!("broken") }).retries(0);
    let alert = dag.task("alert", nothing).trigger_rule(TriggerRule::OneFailed);
    let report = dag.task("report", nothing).trigger_rule(TriggerRule::AllDone);
    let work = dag.task("work", nothing);
    let later = dag.task("later", nothing).trigger_rule(TriggerRule::AllDone);
    dag.chain(setup.as_setup() >> (alert, report, work));
    dag.chain(work >> later);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let expected = [TaskState::Success, TaskState::Success, TaskState::UpstreamFailed, TaskState::UpstreamFailed];
    assert_eq!(states(&world, &run, &["alert", "report", "work", "later"]).await, expected);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cleared_task_waits_for_its_setup_far_before_it_and_goes_on(pool: PgPool) {
    let dag = Dag::new("d");
    let [setup, between, work] = ["setup", "between", "work"].map(|task| dag.task(task, nothing));
    dag.chain(setup.as_setup() >> between >> work);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    let clear = Clear::of(choice(&run, &["work"]));
    let mut conn = world.pool.acquire().await.unwrap();
    assert_eq!(commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap().len(), 2);
    drop(conn);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.tries("d", &run, "between").await.len(), 1);
    world.assert_counts().await;
}

/// A task that runs until it is stopped, and says so.
fn endless(dag: &Dag, stopped: &Arc<Semaphore>) {
    struct SaysSo(Arc<Semaphore>);
    impl Drop for SaysSo {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }
    let stopped = Arc::clone(stopped);
    dag.task("endless", move |_: Context| {
        let says_so = SaysSo(Arc::clone(&stopped));
        async move {
            std::future::pending::<()>().await;
            drop(says_so);
            Ok(())
        }
    });
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_that_takes_too_long_has_failed_and_its_bodies_are_stopped(pool: PgPool) {
    let stopped = Arc::new(Semaphore::new(0));
    let dag = Dag::new("d").dagrun_timeout(Duration::from_secs(5));
    endless(&dag, &stopped);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.reaches("d", &run, "endless", TaskState::Running).await;
    // Not so far ahead that the worker's lease would be over, too.
    let started = world.start_date("d", &run).await;
    assert_eq!(world.pass_at(started + TimeDelta::seconds(4)).await.timed_out, 0);
    assert_eq!(world.pass_at(started + TimeDelta::seconds(6)).await.timed_out, 1);
    assert_eq!(world.run_state("d", &run).await, RunState::Failed);
    assert_eq!(world.state("d", &run, "endless").await, TaskState::Skipped);
    drop(stopped.acquire().await.unwrap());
    worker.stop().await;
    assert_eq!(
        world.tries("d", &run, "endless").await,
        [(TaskState::Skipped, Some("the run took too long".to_owned()))]
    );
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_first_failure_ends_a_run_that_is_to_fail_fast(pool: PgPool) {
    let (stopped, may_fail) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let dag = Dag::new("d").fail_fast();
    endless(&dag, &stopped);
    let gate = Arc::clone(&may_fail);
    let bad = dag.task("bad", move |_: Context| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await?.forget();
            Err::<(), _>(anyhow::anyhow!("broken"))
        }
    });
    dag.chain(dag.task("later", nothing).trigger_rule(TriggerRule::AllDone) >> dag.task("end", nothing));
    dag.chain(bad >> dag.task("waits", nothing).trigger_rule(TriggerRule::AllDone));
    dag.task("looks", async |_: Context| TaskResult::Ok(Poke::<()>::NotYet));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.reaches("d", &run, "endless", TaskState::Running).await;
    world.reaches("d", &run, "end", TaskState::Success).await;
    world.reaches("d", &run, "looks", TaskState::UpForReschedule).await;
    may_fail.add_permits(1);
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    drop(stopped.acquire().await.unwrap());
    worker.stop().await;
    let expected = [TaskState::Failed, TaskState::Failed, TaskState::Skipped, TaskState::Skipped];
    assert_eq!(states(&world, &run, &["bad", "endless", "waits", "looks"]).await, expected);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn past_and_future_reach_the_runs_before_and_after(pool: PgPool) {
    let dag = Dag::new("d");
    dag.task("only", nothing);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    world.unpause("d").await;
    let mut runs = Vec::new();
    for day in ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"] {
        let wanted = commands::ManualRun { logical_date: Some(day.parse().unwrap()), ..Default::default() };
        let run = world.trigger("d", commands::ManualRun { run_id: Some(RunId::from(day)), ..wanted }).await;
        assert_eq!(world.finished("d", &run).await, RunState::Success);
        runs.push(run);
    }
    let date = |day: &str| Some(day.parse().unwrap());
    let around = |past, future| RunChoice::Around { run_id: runs[1].clone(), past, future };
    for (which, expected) in [
        (around(false, false), vec![1]),
        (around(true, false), vec![0, 1]),
        (around(false, true), vec![1, 2]),
        (around(true, true), vec![0, 1, 2]),
        (RunChoice::Between { start: None, end: None }, vec![0, 1, 2]),
        (RunChoice::Between { start: date("2026-01-02T00:00:00Z"), end: None }, vec![1, 2]),
        (RunChoice::Between { start: None, end: date("2026-01-01T12:00:00Z") }, vec![0]),
    ] {
        let choice = Choice { dag_id: "d".into(), runs: which.clone(), tasks: TaskChoice::default() };
        let clear = Clear::of(choice);
        let mut conn = world.pool.acquire().await.unwrap();
        let cleared = commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap();
        drop(conn);
        let cleared: Vec<_> = cleared.into_iter().map(|instance| instance.run_id).collect();
        assert_eq!(cleared, expected.iter().map(|at: &usize| runs[*at].clone()).collect::<Vec<_>>(), "{which:?}");
        for run in &runs {
            assert_eq!(world.finished("d", run).await, RunState::Success);
        }
    }
    worker.stop().await;
}
