//! What begins in the statement that records the task before it: only what would have begun then anyway.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orchestrator::{
    prelude::*,
    state::{RunState, TaskState},
    worker::Settings,
};
use sqlx::PgPool;

use super::{gate::Gate, world::World};

/// The names of the tasks that have begun, in their order.
type Order = Arc<Mutex<Vec<&'static str>>>;

fn noting<'d>(dag: &'d Dag, task: &'static str, order: &Order) -> Task<'d, ()> {
    let order = Arc::clone(order);
    dag.task(task, move |_: Context| {
        order.lock().unwrap().push(task);
        async { Ok(()) }
    })
}

#[sqlx::test(migrations = "../migrations")]
async fn what_comes_next_steps_back_for_what_waits_for_a_worker_with_a_higher_priority(pool: PgPool) {
    let (chain, urgent, order) = (Dag::new("chain"), Dag::new("urgent"), Order::default());
    let gate = Gate::closed();
    chain.chain(gate.task(&chain, "first") >> noting(&chain, "second", &order) >> noting(&chain, "third", &order));
    noting(&urgent, "now", &order).priority_weight(9);
    let world = World::new(pool, vec![chain, urgent]).await;
    let worker = world.worker(Settings { slots: 1, ..Settings::default() });
    let run = world.start("chain").await;
    gate.begun().await;
    let other = world.start("urgent").await;
    assert_eq!(world.state("urgent", &other, "now").await, TaskState::Queued);
    gate.opens_for(1);
    assert_eq!(world.finished("chain", &run).await, RunState::Success);
    worker.stop().await;
    assert_eq!(*order.lock().unwrap(), ["now", "second", "third"]);
    world.assert_counts().await;
}

/// Its time begins when it does, not with the task before it, and goes on from one look to the next.
#[sqlx::test(migrations = "../migrations")]
async fn a_sensor_that_begins_at_once_has_its_own_time(pool: PgPool) {
    let (dag, gate) = (Dag::new("d"), Gate::closed());
    let timeout = Duration::from_millis(300);
    let sensor = dag.task("sensor", async |_: Context| TaskResult::Ok(Poke::<()>::NotYet));
    let sensor = sensor.poke_interval(Duration::from_millis(5)).timeout(timeout);
    dag.chain(gate.task(&dag, "before") >> sensor);
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("d").await;
    gate.begun().await;
    tokio::time::sleep(timeout).await;
    gate.opens_for(1);
    assert_eq!(world.finished("d", &run).await, RunState::Failed);
    worker.stop().await;
    let question = "select extract(epoch from s.end_date - b.end_date)::float8
                    from task_instance s, task_instance b where s.task_id = 'sensor' and b.task_id = 'before'";
    let seconds: f64 = sqlx::query_scalar(question).fetch_one(&world.pool).await.unwrap();
    assert!(seconds >= timeout.as_secs_f64(), "it gave up {seconds} s after it began");
    assert_eq!(world.tries("d", &run, "sensor").await.len(), 1);
    world.assert_counts().await;
}
