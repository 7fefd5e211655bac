//! Mapped tasks and mapped groups: an instance for each item, each with tries, clears and failures of its own.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use orchestrator::{
    commands::{self, By, Choice, Clear, NamedTask, RunChoice, TaskChoice},
    ids::RunId,
    prelude::*,
    state::{RunState, TaskState},
    worker::Settings,
};
use serde_json::json;
use sqlx::PgPool;

use super::world::World;

use TaskState::{Failed, None as Waits, Removed, Skipped, Success, UpstreamFailed};

/// A list that a test may change between two tries of the task that returns it.
type List = Arc<Mutex<Vec<u32>>>;

fn list<'d>(dag: &'d Dag, items: &List) -> Task<'d, Vec<u32>> {
    let items = Arc::clone(items);
    dag.task("list", move |_: Context| {
        let now = items.lock().unwrap().clone();
        async move { TaskResult::Ok(now) }
    })
}

fn items(items: &[u32]) -> List {
    Arc::new(Mutex::new(items.to_vec()))
}

async fn double(_: Context, item: u32) -> TaskResult<u32> {
    Ok(item * 2)
}

async fn sum(_: Context, all: Vec<u32>) -> TaskResult<u32> {
    Ok(all.into_iter().sum())
}

async fn none(_: Context) -> TaskResult<()> {
    Ok(())
}

fn all(state: TaskState, length: i32) -> Vec<(i32, TaskState)> {
    (0..length).map(|index| (index, state)).collect()
}

async fn clear(world: &World, run: &RunId, named: Vec<NamedTask>, downstream: bool) {
    let tasks = TaskChoice { named, upstream: false, downstream };
    let choice = Choice { dag_id: "d".into(), runs: RunChoice::one(run.clone()), tasks };
    let clear = Clear::of(choice);
    let mut conn = world.pool.acquire().await.unwrap();
    commands::clear(&mut conn, &world.graphs, &clear, &By::test()).await.unwrap();
}

fn one(task: &str, map_index: i32) -> Vec<NamedTask> {
    vec![NamedTask { task: task.into(), map_index: Some(map_index) }]
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_is_mapped_over_a_result_over_literals_and_over_a_mapped_one(pool: PgPool) {
    let dag = Dag::new("d");
    let doubled = dag.task("double", double.expand(list(&dag, &items(&[1, 2, 3]))));
    let again = dag.task("again", double.expand(doubled));
    dag.task("sum", sum.with(again));
    let add = async |_: Context, item: u32, all: Vec<u32>| TaskResult::Ok(item + all.len() as u32);
    dag.task("literal", add.expand([10, 20]).with(doubled));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.instances("d", &run, "double").await, all(Success, 3));
    assert_eq!(world.results("d", &run, "again").await, [json!(4), json!(8), json!(12)]);
    assert_eq!(world.results("d", &run, "sum").await, [json!(24)]);
    assert_eq!(world.results("d", &run, "literal").await, [json!(13), json!(23)]);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn nothing_to_map_over_skips_and_what_cannot_be_mapped_over_fails(pool: PgPool) {
    let dag = Dag::new("d").max_map_length(3);
    let empty = dag.task("double", double.expand(list(&dag, &items(&[]))));
    dag.task("sum", sum.with(empty));
    let after = dag.task("after", sum.with(empty)).trigger_rule(TriggerRule::AllDone);
    let group = dag.group("group").expand(dag.task("none", async |_: Context| TaskResult::Ok(Vec::<u32>::new())));
    let inside = group.task("inside", double.with(group.item()));
    group.task("later", double.with(inside));
    let long = dag.task("long", async |_: Context| TaskResult::Ok(vec![0_u32; 4]));
    dag.task("too_many", double.expand(long));
    let failed = dag.task("failed", async |_: Context| -> TaskResult<Vec<u32>> { Err(Skip("no".into()).into()) });
    dag.task("skipped_with_it", double.expand(failed)).trigger_rule(TriggerRule::AllDone);
    dag.chain(after >> dag.task("end", async |_: Context| TaskResult::Ok(())));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let expected = [
        ("double", Skipped),
        ("sum", Skipped),
        ("after", Success),
        ("end", Success),
        ("group.inside", Skipped),
        ("group.later", Skipped),
        ("long", Failed),
        ("too_many", UpstreamFailed),
        ("failed", Skipped),
        ("skipped_with_it", Skipped),
    ];
    for (task, state) in expected {
        assert_eq!(world.instances("d", &run, task).await, [(-1, state)], "{task}");
    }
    let tries = world.tries("d", &run, "long").await;
    let cause = tries[0].1.as_deref().unwrap();
    assert!(cause.contains("it has 4 items, and max_map_length is 3"), "{cause}");
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn each_index_has_its_own_tries_and_is_cleared_alone(pool: PgPool) {
    let dag = Dag::new("d").retry_delay(Duration::ZERO);
    let broken: Arc<Mutex<HashSet<u32>>> = Arc::new(Mutex::new([1, 2].into()));
    let still = Arc::clone(&broken);
    let work = move |context: Context, item: u32| {
        let is_broken = still.lock().unwrap().contains(&item);
        // One of them mends itself at its second try.
        let fails = is_broken && !(item == 1 && context.try_number() == 2);
        async move { if fails { Err(anyhow::anyhow!("item {item}")) } else { Ok(item) } }
    };
    let worked = dag.task("work", work.expand(list(&dag, &items(&[0, 1, 2])))).retries(1);
    dag.task("sum", sum.with(worked));
    dag.task("some", sum.with(worked)).trigger_rule(TriggerRule::AllDone);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    assert_eq!(world.instances("d", &run, "work").await, [(0, Success), (1, Success), (2, Failed)]);
    assert_eq!(world.state("d", &run, "sum").await, UpstreamFailed);
    assert_eq!(world.results("d", &run, "some").await, [json!(1)], "of those that returned something");
    broken.lock().unwrap().clear();
    clear(&world, &run, one("work", 2), true).await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    let mut tries = world.tries("d", &run, "work").await;
    tries.retain(|(state, _)| *state == Success);
    assert_eq!(tries.len(), 3, "only the one that failed has run again");
    assert_eq!(world.results("d", &run, "sum").await, [json!(3)]);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_list_that_has_changed_makes_and_removes_instances(pool: PgPool) {
    let dag = Dag::new("d");
    let list_of = items(&[1, 2, 3]);
    let listed = list(&dag, &list_of);
    let doubled = dag.task("double", double.expand(listed));
    dag.task("sum", sum.with(doubled));
    let group = dag.group("each").expand(listed);
    let inside = group.task("double", double.with(group.item()));
    dag.task("sum_each", sum.with(inside.collected()));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    let removed = |from: i32| (from..4).map(|index| (index, Removed));
    for (now, length) in [(&[5_u32, 6, 7, 8][..], 4), (&[9][..], 1), (&[][..], 0), (&[1, 2][..], 2)] {
        *list_of.lock().unwrap() = now.to_vec();
        clear(&world, &run, vec!["list".into()], true).await;
        assert_eq!(world.finished("d", &run).await, RunState::Success, "{now:?}");
        for (task, total) in [("double", "sum"), ("each.double", "sum_each")] {
            let found = world.instances("d", &run, task).await;
            if length == 0 {
                assert_eq!(found, [(-1, Skipped)].into_iter().chain(removed(0)).collect::<Vec<_>>(), "{task} {now:?}");
                assert_eq!(world.state("d", &run, total).await, Skipped);
            } else {
                let expected: Vec<_> = all(Success, length).into_iter().chain(removed(length)).collect();
                assert_eq!(found, expected, "{task} {now:?}");
                assert_eq!(world.results("d", &run, total).await, [json!(now.iter().sum::<u32>() * 2)]);
            }
        }
        world.assert_counts().await;
    }
    worker.stop().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn in_a_mapped_group_each_index_goes_its_own_way(pool: PgPool) {
    let dag = Dag::new("d");
    let group = dag.group("each").expand(list(&dag, &items(&[0, 1, 2])));
    let check = async |_: Context, item: u32| match item {
        0 => Err(Skip("nothing to do".into()).into()),
        1 => Err(anyhow::anyhow!("broken")),
        item => Ok(item),
    };
    let checked = group.task("check", check.with(group.item()));
    let both = async |_: Context, checked: u32, item: u32| TaskResult::Ok(checked * 10 + item);
    let worked = group.task("work", both.with((checked, group.item())));
    let always = group.task("always", async |_: Context| TaskResult::Ok(())).trigger_rule(TriggerRule::AllDone);
    dag.chain(worked >> always);
    let end = dag.task("sum", sum.with(worked.collected())).trigger_rule(TriggerRule::AllDone);
    dag.chain(group >> end);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!(world.instances("d", &run, "each.check").await, [(0, Skipped), (1, Failed), (2, Success)]);
    assert_eq!(world.instances("d", &run, "each.work").await, [(0, Skipped), (1, UpstreamFailed), (2, Success)]);
    assert_eq!(world.instances("d", &run, "each.always").await, all(Success, 3));
    assert_eq!(world.results("d", &run, "sum").await, [json!(22)]);
    world.assert_counts().await;
    // Downstream of an index is its own index, and what comes after the group.
    worker.stop().await;
    clear(&world, &run, one("each.check", 2), true).await;
    assert_eq!(world.instances("d", &run, "each.work").await, [(0, Skipped), (1, UpstreamFailed), (2, Waits)]);
    assert_eq!(world.instances("d", &run, "each.always").await, [(0, Success), (1, Success), (2, Waits)]);
    assert_eq!(world.instances("d", &run, "sum").await, [(-1, Waits)]);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_mapped_branch_chooses_groups(pool: PgPool) {
    let dag = Dag::new("d");
    // In a mapped group each index chooses for itself.
    let each = dag.group("each").expand([0_u32, 1]);
    let one = async |_: Context, item: u32| TaskResult::Ok(Branch::to([["each.left", "each.right"][item as usize]]));
    let chooses = each.task("chooses", one.with(each.item()));
    for side in ["left", "right"].map(|side| each.group(side)) {
        dag.chain(side.task("first", none) >> side.task("then", none));
        dag.chain(chooses >> side);
    }
    // Elsewhere what one of the instances leaves out is skipped.
    let more = async |_: Context, most: usize| TaskResult::Ok(Branch::to(["low", "high"].into_iter().take(most)));
    let choose = dag.task("choose", more.expand([1_usize, 2]));
    for side in ["low", "high"].map(|side| dag.group(side)) {
        dag.chain(side.task("first", none) >> side.task("then", none));
        dag.chain(choose >> side);
    }
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    for task in ["first", "then"] {
        let of = async |group: &str| world.instances("d", &run, &format!("{group}.{task}")).await;
        assert_eq!(of("each.left").await, [(0, Success), (1, Skipped)]);
        assert_eq!(of("each.right").await, [(0, Skipped), (1, Success)]);
        assert_eq!(of("low").await, [(-1, Success)]);
        assert_eq!(of("high").await, [(-1, Skipped)]);
    }
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_thousand_instances_keep_to_the_limits(pool: PgPool) {
    let dag = Dag::new("d").max_active_tasks(20);
    let numbers: Vec<u32> = (0..1_000).collect();
    let doubled = dag.task("double", double.expand(numbers));
    dag.task("sum", sum.with(doubled));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings { slots: 64, ..Settings::default() });
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(world.results("d", &run, "sum").await, [json!(999_000)]);
    world.assert_counts().await;
}
