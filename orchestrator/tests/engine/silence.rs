//! A database that is gone without a word, and runs that somebody holds: what waits for one keeps nothing else waiting.

use std::{sync::Arc, time::Duration};

use orchestrator::{
    commands::ManualRun,
    prelude::*,
    state::{RunState, TaskState},
    worker::{Settings, Worker},
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    gate::Gate,
    world::{PATIENCE, World},
};

/// How long a worker here waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(300);

/// The way from a worker to Postgres.
struct Way {
    port: u16,
    is_open: watch::Sender<bool>,
}

impl Way {
    async fn open(pool: &PgPool) -> Self {
        let target = (pool.connect_options().get_host().to_owned(), pool.connect_options().get_port());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_open = watch::Sender::new(true);
        let seen = is_open.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *seen.borrow() {
                    let server = TcpStream::connect((&*target.0, target.1)).await.unwrap();
                    tokio::spawn(carry(client, server, seen.subscribe()));
                }
            }
        });
        Self { port, is_open }
    }

    /// What goes over it from now on never arrives, and nobody is told; who comes anew is turned away.
    fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// Who comes anew is let through. What was cut stays so.
    fn mend(&self) {
        self.is_open.send_replace(true);
    }

    fn start_worker(&self, world: &World, patience: Duration) -> (CancellationToken, JoinHandle<()>) {
        let options = (*world.pool.connect_options()).clone().host("127.0.0.1").port(self.port);
        let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(options);
        let settings = Settings { patience, ..Settings::default() };
        let registry = Arc::clone(&world.registry);
        let worker = Worker::new(pool, registry, world.graphs.clone(), world.wake.clone(), settings);
        let stop = CancellationToken::new();
        (stop.clone(), tokio::spawn(worker.run(stop)))
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, mut is_open: watch::Receiver<bool>) {
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        // It was let through: what changes first is that it is cut.
        _ = is_open.changed() => std::future::pending().await,
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_whose_database_answers_no_more_asks_anew(pool: PgPool) {
    let dag = Dag::new("d");
    let gate = Gate::closed();
    dag.chain(gate.task(&dag, "first") >> dag.task("second", async |_: Context| TaskResult::Ok(())));
    let world = World::new(pool, vec![dag]).await;
    let way = Way::open(&world.pool).await;
    let (stop, worker) = way.start_worker(&world, Duration::from_secs(1));
    let run = world.start("d").await;
    gate.begun().await;
    way.cut();
    way.mend();
    gate.opens_for(1);
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!(world.tries("d", &run, "first").await, [(TaskState::Success, None)]);
    stop.cancel();
    worker.await.unwrap();
    world.assert_counts().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_that_wants_to_know_something_waits_for_the_database(pool: PgPool) {
    let dag = Dag::new("d");
    let gate = Gate::closed();
    let asks = {
        let gate = gate.clone();
        move |context: Context| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                let heard = context.signal("nothing").await?;
                let known = context.run_dates().await?;
                Ok(heard.is_none() && known.is_some())
            }
        }
    };
    dag.task("asks", asks);
    let world = World::new(pool, vec![dag]).await;
    let way = Way::open(&world.pool).await;
    let (stop, worker) = way.start_worker(&world, Duration::from_secs(1));
    let run = world.start("d").await;
    gate.begun().await;
    way.cut();
    gate.opens_for(1);
    // It has been told more than once that there is no database.
    tokio::time::sleep(ACQUIRE_TIMEOUT * 4).await;
    way.mend();
    assert_eq!(world.finished("d", &run).await, RunState::Success);
    assert_eq!(world.results("d", &run, "asks").await, [serde_json::json!(true)]);
    stop.cancel();
    worker.await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_run_that_somebody_holds_keeps_no_other_waiting(pool: PgPool) {
    let held = Dag::new("held");
    let fails = async |_: Context| -> TaskResult<()> { anyhow::bail!("not yet") };
    held.task("again", fails).retries(1).retry_delay(Duration::ZERO);
    let other = Dag::new("other");
    other.task("only", async |_: Context| TaskResult::Ok(()));
    let world = World::new(pool, vec![held, other]).await;
    let worker = world.worker(Settings::default());
    let run = world.start("held").await;
    world.reaches("held", &run, "again", TaskState::UpForRetry).await;
    let mut holder = world.pool.begin().await.unwrap();
    let hold = sqlx::query("select from dag_run where dag_id = 'held' for no key update");
    hold.execute(&mut *holder).await.unwrap();
    world.unpause("other").await;
    let beside = world.trigger("other", ManualRun::default()).await;
    let pass = timeout(PATIENCE / 4, world.pass()).await.expect("it waits for the run that is held");
    assert_eq!((pass.requeued, pass.promoted), (0, 1));
    assert_eq!(world.finished("other", &beside).await, RunState::Success);
    assert_eq!(world.state("held", &run, "again").await, TaskState::UpForRetry);
    holder.rollback().await.unwrap();
    assert_eq!(world.finished("held", &run).await, RunState::Failed);
    worker.stop().await;
    world.assert_counts().await;
}
