//! Limits are kept, to the last slot, and what waits for them gets its share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use orchestrator::{
    dag::DEFAULT_POOL,
    engine::Gate,
    ids::RunId,
    prelude::*,
    state::{RunState, TaskState},
    store,
    worker::Settings,
};
use sqlx::{PgPool, Row};
use tokio::sync::Semaphore;

use super::world::World;

async fn set_pool(world: &World, pool: &str, slots: i32) {
    let mut conn = world.pool.acquire().await.unwrap();
    store::slots::set_total(&mut conn, &Gate::pool(pool), slots).await.unwrap();
}

/// How many slots are taken now, and at most so far.
#[derive(Clone, Default)]
struct Gauge(Arc<(AtomicI64, AtomicI64)>);

impl Gauge {
    async fn hold(&self, slots: i64) {
        let now = self.0.0.fetch_add(slots, Ordering::SeqCst) + slots;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.0.0.fetch_sub(slots, Ordering::SeqCst);
    }

    fn most(&self) -> i64 {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// Adds a task that holds so many slots of each gauge.
fn holding<'d>(dag: &'d Dag, task: &str, gauges: &[(Gauge, i64)]) -> Task<'d, ()> {
    let gauges = gauges.to_vec();
    dag.task(task, move |_: Context| {
        let gauges = gauges.clone();
        async move {
            futures::future::join_all(gauges.iter().map(|(gauge, slots)| gauge.hold(*slots))).await;
            Ok(())
        }
    })
}

#[sqlx::test(migrations = "../migrations")]
async fn no_limit_is_ever_exceeded_and_none_is_left_unused(pool: PgPool) {
    let (in_pool, in_run, of_task) = (Gauge::default(), [Gauge::default(), Gauge::default()], Gauge::default());
    let dags = [0, 1].map(|number| {
        let dag = Dag::new(&format!("d{number}")).max_active_tasks(6).max_active_runs(3);
        for task in 0..20 {
            let slots = 1 + task % 3;
            let gauges = [(in_pool.clone(), slots), (in_run[number].clone(), 1)];
            holding(&dag, &format!("t{task}"), &gauges).pool("narrow").pool_slots(slots as u32);
        }
        let gauges = [(in_run[number].clone(), 1), (of_task.clone(), 1)];
        let once = holding(&dag, "once", &gauges);
        if number == 0 {
            once.max_active_tis_per_dag(1)
        } else {
            once.max_active_tis_per_dag(2)
        };
        dag
    });
    let world = World::new(pool, dags.into()).await;
    set_pool(&world, "narrow", 5).await;
    let workers = [world.worker(Settings::default()), world.worker(Settings::default())];
    let mut runs: Vec<(&str, RunId)> = Vec::new();
    for dag in ["d0", "d1"] {
        world.unpause(dag).await;
        for _ in 0..3 {
            runs.push((dag, world.trigger(dag, Default::default()).await));
        }
    }
    for (dag, run) in &runs {
        assert_eq!(world.finished(dag, run).await, RunState::Success);
    }
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(in_pool.most(), 5, "slots of the pool");
    assert!(of_task.most() <= 3, "{} of one task at once", of_task.most());
    assert!(in_run.iter().all(|run| run.most() <= 18), "three runs of six each");
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_keeps_to_its_max_active_tasks_and_the_rest_says_scheduled(pool: PgPool) {
    let gate = Arc::new(Semaphore::new(0));
    let dag = Dag::new("d").max_active_tasks(2);
    for (task, priority) in [("low", 1), ("high", 9), ("middle", 5), ("lowest", 0)] {
        let gate = Arc::clone(&gate);
        dag.task(task, move |_: Context| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await?.forget();
                Ok(())
            }
        })
        .priority_weight(priority);
    }
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.reaches("d", &run, "high", TaskState::Running).await;
    world.reaches("d", &run, "middle", TaskState::Running).await;
    assert_eq!(world.state("d", &run, "low").await, TaskState::Scheduled);
    assert_eq!(world.state("d", &run, "lowest").await, TaskState::Scheduled);
    gate.add_permits(1);
    world.reaches("d", &run, "low", TaskState::Running).await;
    assert_eq!(world.state("d", &run, "lowest").await, TaskState::Scheduled);
    gate.add_permits(3);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_pool_that_is_made_or_grows_lets_those_in_who_wait(pool: PgPool) {
    let dag = Dag::new("d");
    for task in ["a", "b", "c"] {
        dag.task(task, async |_: Context| TaskResult::Ok(())).pool("later");
    }
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.state("d", &run, "a").await, TaskState::Scheduled);
    set_pool(&world, "later", 0).await;
    assert_eq!(world.pass().await.admitted, 0);
    set_pool(&world, "later", 2).await;
    assert_eq!(world.pass().await.admitted, 2);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_pool_without_a_limit_lets_everybody_in(pool: PgPool) {
    let (dag, gauge) = (Dag::new("d"), Gauge::default());
    for task in 0..40 {
        holding(&dag, &format!("t{task}"), &[(gauge.clone(), 1)]).pool("wide").pool_slots(1_000_000);
    }
    let world = World::new(pool, vec![dag.max_active_tasks(64)]).await;
    set_pool(&world, "wide", -1).await;
    let run = world.start("d").await;
    assert_eq!(world.count("d", TaskState::Queued).await, 40);
    let worker = world.worker(Settings { slots: 64, ..Settings::default() });
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_waits_for_a_worker_that_serves_its_queue(pool: PgPool) {
    let dag = Dag::new("d");
    let [common, special, last] =
        ["common", "special", "last"].map(|task| dag.task(task, async |_: Context| TaskResult::Ok(())));
    dag.chain(common >> special.queue("gpu") >> last);
    let world = World::new(pool, vec![dag]).await;
    let serving = |queue: &str| world.worker(Settings { queues: vec![queue.to_owned()], ..Settings::default() });
    let common = serving("default");
    let run = world.start("d").await;
    world.reaches("d", &run, "special", TaskState::Queued).await;
    for _ in 0..5 {
        world.pass().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(world.state("d", &run, "special").await, TaskState::Queued);
    let special = serving("gpu");
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    let workers =
        "select array_agg(y.worker_id order by t.task_id) from task_try y join task_instance t using (instance_key)";
    let workers: Vec<uuid::Uuid> = sqlx::query_scalar(workers).fetch_one(&world.pool).await.unwrap();
    let [of_common, of_last, of_special] = workers[..] else { panic!("{workers:?}") };
    assert!(of_common == of_last && of_common != of_special, "{workers:?}");
    common.stop().await;
    special.stop().await;
    world.assert_counts().await;
}

/// One DAG has 300 tasks ready when another one's 30 come: from then on they share the slots, though all have the
/// same priority and the first ones stood in line long before.
#[sqlx::test(migrations = "../migrations")]
async fn a_wide_dag_does_not_starve_another_one(pool: PgPool) {
    share_the_slots(pool, 4).await;
}

/// The same where workers have slots to spare: nobody is queued, all stand at the pool.
#[sqlx::test(migrations = "../migrations")]
async fn a_wide_dag_does_not_starve_another_one_where_the_pool_alone_is_short(pool: PgPool) {
    share_the_slots(pool, 32).await;
}

/// Whose tasks began, in their order.
type Began = Arc<Mutex<Vec<&'static str>>>;

/// A DAG whose tasks tell that they began.
fn telling(began: &Began, name: &'static str, tasks: usize, priority: i32) -> Dag {
    let dag = Dag::new(name).max_active_tasks(1_000);
    for task in 0..tasks {
        let began = Arc::clone(began);
        let body = move |_: Context| {
            began.lock().unwrap().push(name);
            async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(())
            }
        };
        dag.task(&format!("t{task}"), body).priority_weight(priority);
    }
    dag
}

/// A DAG that comes while others of a higher priority are served does not get in line behind as many of its own.
#[sqlx::test(migrations = "../migrations")]
async fn what_others_of_a_higher_priority_were_served_is_not_held_against_who_comes(pool: PgPool) {
    let began = Began::default();
    let dags = [("wide", 200, 1), ("urgent", 150, 10), ("late", 20, 1)];
    let world =
        World::new(pool, dags.map(|(name, tasks, priority)| telling(&began, name, tasks, priority)).into()).await;
    set_pool(&world, DEFAULT_POOL, 4).await;
    let (wide, urgent) = (world.start("wide").await, world.start("urgent").await);
    let worker = world.worker(Settings::default());
    world.reaches("urgent", &urgent, "t140", TaskState::Success).await;
    let late = world.start("late").await;
    let came = began.lock().unwrap().len();
    for (dag, run) in [("urgent", &urgent), ("late", &late), ("wide", &wide)] {
        assert_eq!(world.finished(dag, run).await, RunState::Success);
    }
    worker.stop().await;
    let began = began.lock().unwrap().clone();
    let last = began.iter().rposition(|name| *name == "late").unwrap();
    let wide = began[came..=last].iter().filter(|name| **name == "wide").count();
    // By turns they would be 20, and some were admitted before.
    assert!(wide < 60, "{wide} of the wide dag began before the last one of the late dag");
    world.assert_counts().await;
}

async fn share_the_slots(pool: PgPool, slots: u32) {
    let began = Began::default();
    let dags = vec![telling(&began, "wide", 300, 1), telling(&began, "late", 30, 1)];
    let world = World::new(pool, dags).await;
    set_pool(&world, DEFAULT_POOL, 4).await;
    let wide = world.start("wide").await;
    let worker = world.worker(Settings { slots, ..Settings::default() });
    world.reaches("wide", &wide, "t0", TaskState::Success).await;
    let late = world.start("late").await;
    assert_eq!(world.finished("late", &late).await, RunState::Success);
    assert_eq!(world.finished("wide", &wide).await, RunState::Success);
    worker.stop().await;
    let began = began.lock().unwrap().clone();
    let first = began.iter().position(|name| *name == "late").unwrap();
    let last = began.iter().rposition(|name| *name == "late").unwrap();
    let mut share: HashMap<_, usize> = HashMap::new();
    began[first..=last].iter().for_each(|name| *share.entry(*name).or_default() += 1);
    // Half and half; what was admitted before the other one came does not count against it.
    let ratio = share["wide"] as f64 / share["late"] as f64;
    assert!((0.5..=1.5).contains(&ratio), "{share:?}");
    world.assert_counts().await;
}

/// What is freed in one pool and taken from its line must not be lost because a task of another pool may begin at once.
#[sqlx::test(migrations = "../migrations")]
async fn a_line_moves_on_beside_tasks_that_begin_at_once(pool: PgPool) {
    let dag = Dag::new("d").max_active_tasks(100);
    for task in 0..8 {
        let narrow = dag.task(&format!("e{task}"), async |_: Context| TaskResult::Ok(())).pool("narrow");
        dag.chain(narrow >> dag.task(&format!("t{task}"), async |_: Context| TaskResult::Ok(())));
    }
    let world = World::new(pool, vec![dag]).await;
    set_pool(&world, "narrow", 2).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_pool_that_was_made_smaller_empties_to_its_new_size(pool: PgPool) {
    let gate = Arc::new(Semaphore::new(0));
    let dag = Dag::new("d").max_active_tasks(100);
    for task in 0..12 {
        let gate = Arc::clone(&gate);
        dag.task(&format!("t{task}"), move |_: Context| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await?.forget();
                Ok(())
            }
        })
        .pool("narrow");
    }
    let world = World::new(pool, vec![dag]).await;
    set_pool(&world, "narrow", 4).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.count_reaches("d", TaskState::Running, 4).await;
    set_pool(&world, "narrow", 1).await;
    gate.add_permits(4);
    world.count_reaches("d", TaskState::Success, 4).await;
    world.count_reaches("d", TaskState::Running, 1).await;
    assert_eq!(world.count("d", TaskState::Scheduled).await, 7);
    gate.add_permits(8);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn tasks_that_are_too_big_for_a_pool_do_not_hide_smaller_ones(pool: PgPool) {
    let dag = Dag::new("d").max_active_tasks(100);
    for task in 0..30 {
        dag.task(&format!("big{task}"), async |_: Context| TaskResult::Ok(())).pool("narrow").pool_slots(3);
    }
    dag.task("small", async |_: Context| TaskResult::Ok(())).pool("narrow").priority_weight(-1);
    let world = World::new(pool, vec![dag]).await;
    set_pool(&world, "narrow", 2).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.reaches("d", &run, "small", TaskState::Success).await;
    assert_eq!(world.count("d", TaskState::Scheduled).await, 30);
    worker.stop().await;
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_mapped_task_keeps_to_its_limit_in_a_run_and_hides_nobody_behind_it(pool: PgPool) {
    let (gauge, gate) = (Gauge::default(), Arc::new(Semaphore::new(0)));
    let dag = Dag::new("d").max_active_tasks(4);
    let holds = {
        let (gauge, gate) = (gauge.clone(), Arc::clone(&gate));
        move |_: Context, _: u32| {
            let (gauge, gate) = (gauge.clone(), Arc::clone(&gate));
            async move {
                gate.acquire().await?.forget();
                gauge.hold(1).await;
                TaskResult::Ok(())
            }
        }
    };
    dag.task("many", holds.expand((0..30).collect::<Vec<u32>>())).max_active_tis_per_dagrun(2).priority_weight(9);
    dag.task("other", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    world.reaches("d", &run, "other", TaskState::Success).await;
    assert_eq!((world.count("d", TaskState::Running).await, world.count("d", TaskState::Scheduled).await), (2, 28));
    gate.add_permits(30);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(gauge.most(), 2);
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_weight_rule_counts_what_comes_after_or_before(pool: PgPool) {
    let dag = Dag::new("d");
    let nothing = async |_: Context| TaskResult::Ok(());
    let task = |name: &str, weight, rule| dag.task(name, nothing).priority_weight(weight).weight_rule(rule);
    let start = task("start", 5, WeightRule::Downstream);
    let [left, right] = [task("left", 2, WeightRule::Absolute), task("right", 3, WeightRule::Upstream)];
    let end = task("end", 7, WeightRule::Upstream);
    let most = task("most", i32::MAX, WeightRule::Downstream);
    dag.chain(start >> [left, right] >> end);
    dag.chain(most >> end);
    let world = World::new(pool, vec![dag]).await;
    world.start("d").await;
    let rows = sqlx::query("select task_id, priority from task_instance order by task_id");
    let rows = rows.fetch_all(&world.pool).await.unwrap();
    let priorities: Vec<(String, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [("end", i32::MAX), ("left", 2), ("most", i32::MAX), ("right", 8), ("start", 17)];
    assert_eq!(priorities, expected.map(|(task, priority)| (task.to_owned(), priority)));
}
