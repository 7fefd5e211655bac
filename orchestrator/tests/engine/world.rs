//! A private database with some DAGs, a scheduler that is called by hand, and workers.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use orchestrator::{
    commands::{self, By, ManualRun},
    dag::{Dag, Registry},
    engine::Graphs,
    ids::{DagId, RunId, RunKey, TaskId},
    scheduler::{Pass, Scheduler, register},
    state::{RunState, TaskState},
    store,
    wake::Wake,
    worker::{Settings, Worker},
};
use sqlx::{PgPool, Row};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct World {
    pub pool: PgPool,
    pub registry: Arc<Registry>,
    pub graphs: Graphs,
    pub wake: Wake,
    pub scheduler: Scheduler,
}

pub struct WorkerAtWork {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Long enough for the slowest machine, short enough to end a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    pub async fn new(pool: PgPool, dags: Vec<Dag>) -> Self {
        let registry = Arc::new(Registry::build(dags).unwrap());
        let (graphs, wake) = (Graphs::default(), Wake::default());
        let scheduler = Scheduler::new(pool.clone(), Arc::clone(&registry), graphs.clone(), wake.clone());
        let mut conn = pool.acquire().await.unwrap();
        store::ensure_partitions(&mut conn).await.unwrap();
        register(&mut conn, &registry).await.unwrap();
        Self { pool, registry, graphs, wake, scheduler }
    }

    pub fn worker(&self, settings: Settings) -> WorkerAtWork {
        let worker = Worker::new(
            self.pool.clone(),
            Arc::clone(&self.registry),
            self.graphs.clone(),
            self.wake.clone(),
            settings,
        );
        let stop = CancellationToken::new();
        WorkerAtWork { task: tokio::spawn(worker.run(stop.clone())), stop }
    }

    pub async fn now(&self) -> DateTime<Utc> {
        store::now(&mut self.pool.acquire().await.unwrap()).await.unwrap()
    }

    /// Every duty of the scheduler once, as of `now`.
    pub async fn pass_at(&self, now: DateTime<Utc>) -> Pass {
        let pass = self.scheduler.run_once(&mut self.pool.acquire().await.unwrap(), now).await.unwrap();
        self.wake.worker();
        pass
    }

    pub async fn pass(&self) -> Pass {
        self.pass_at(self.now().await).await
    }

    pub async fn set_paused(&self, dag: &str, paused: bool) {
        let mut conn = self.pool.acquire().await.unwrap();
        commands::set_paused(&mut conn, &self.graphs, &DagId::from(dag), paused, &By::test()).await.unwrap();
        self.wake.worker();
    }

    pub async fn unpause(&self, dag: &str) {
        self.set_paused(dag, false).await;
    }

    /// A manual run of an unpaused DAG, started.
    pub async fn start(&self, dag: &str) -> RunId {
        self.unpause(dag).await;
        let run = self.trigger(dag, ManualRun::default()).await;
        assert_eq!(self.pass().await.promoted, 1, "the run was not started");
        run
    }

    pub async fn trigger(&self, dag: &str, run: ManualRun) -> RunId {
        let mut conn = self.pool.acquire().await.unwrap();
        commands::trigger(&mut conn, &self.graphs, &DagId::from(dag), run, &By::test()).await.unwrap()
    }

    /// Waits for the end of a run, calling the scheduler as its loop would.
    pub async fn finished(&self, dag: &str, run: &RunId) -> RunState {
        let end = tokio::time::timeout(PATIENCE, async {
            loop {
                self.pass().await;
                let state = self.run_state(dag, run).await;
                if state.is_finished() {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        end.await.unwrap_or_else(|_| panic!("the run {run} did not end"))
    }

    /// Waits until a task is in that state.
    pub async fn reaches(&self, dag: &str, run: &RunId, task: &str, state: TaskState) {
        let reached = tokio::time::timeout(PATIENCE, async {
            while self.state(dag, run, task).await != state {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        reached.await.unwrap_or_else(|_| panic!("{task} did not become {state}"));
    }

    /// How many task instances of a DAG are in that state.
    pub async fn count(&self, dag: &str, state: TaskState) -> i64 {
        sqlx::query("select count(*) from task_instance where dag_id = $1 and state = $2")
            .bind(dag)
            .bind(state)
            .fetch_one(&self.pool)
            .await
            .unwrap()
            .get(0)
    }

    /// Waits until so many task instances of a DAG are in that state.
    pub async fn count_reaches(&self, dag: &str, state: TaskState, wanted: i64) {
        let reached = tokio::time::timeout(PATIENCE, async {
            while self.count(dag, state).await != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        reached.await.unwrap_or_else(|_| panic!("never {wanted} that are {state}"));
    }

    pub async fn run_key(&self, dag: &str, run: &RunId) -> RunKey {
        let mut conn = self.pool.acquire().await.unwrap();
        store::runs::key(&mut conn, &DagId::from(dag), run).await.unwrap().unwrap()
    }

    pub async fn run_state(&self, dag: &str, run: &RunId) -> RunState {
        sqlx::query("select state from dag_run where run_key = $1")
            .bind(self.run_key(dag, run).await)
            .fetch_one(&self.pool)
            .await
            .unwrap()
            .get(0)
    }

    pub async fn start_date(&self, dag: &str, run: &RunId) -> DateTime<Utc> {
        sqlx::query("select start_date from dag_run where run_key = $1")
            .bind(self.run_key(dag, run).await)
            .fetch_one(&self.pool)
            .await
            .unwrap()
            .get(0)
    }

    pub async fn state(&self, dag: &str, run: &RunId, task: &str) -> TaskState {
        sqlx::query("select state from task_instance where run_key = $1 and task_id = $2")
            .bind(self.run_key(dag, run).await)
            .bind(TaskId::from(task))
            .fetch_one(&self.pool)
            .await
            .unwrap()
            .get(0)
    }

    /// The map indexes and states of a task's instances.
    pub async fn instances(&self, dag: &str, run: &RunId, task: &str) -> Vec<(i32, TaskState)> {
        sqlx::query("select map_index, state from task_instance where run_key = $1 and task_id = $2 order by map_index")
            .bind(self.run_key(dag, run).await)
            .bind(TaskId::from(task))
            .fetch_all(&self.pool)
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect()
    }

    /// What a task returned, by map index.
    pub async fn results(&self, dag: &str, run: &RunId, task: &str) -> Vec<serde_json::Value> {
        sqlx::query("select value from xcom where run_key = $1 and task_id = $2 order by map_index")
            .bind(self.run_key(dag, run).await)
            .bind(TaskId::from(task))
            .fetch_all(&self.pool)
            .await
            .unwrap()
            .into_iter()
            .map(|row| row.get(0))
            .collect()
    }

    /// How the tries of a task ended, with their causes.
    pub async fn tries(&self, dag: &str, run: &RunId, task: &str) -> Vec<(TaskState, Option<String>)> {
        sqlx::query(
            "select y.state, y.cause from task_try y join task_instance t using (instance_key)
             where t.run_key = $1 and t.task_id = $2 order by y.try_number, y.end_date",
        )
        .bind(self.run_key(dag, run).await)
        .bind(TaskId::from(task))
        .fetch_all(&self.pool)
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
    }

    /// Every line of every log of a task.
    pub async fn log(&self, dag: &str, run: &RunId, task: &str) -> Vec<String> {
        sqlx::query(
            "select l.message from task_log l join task_instance t using (instance_key)
             where t.run_key = $1 and t.task_id = $2 order by l.line",
        )
        .bind(self.run_key(dag, run).await)
        .bind(TaskId::from(task))
        .fetch_all(&self.pool)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.get(0))
        .collect()
    }

    /// Holds every count against a recount from the states: the oracle.
    pub async fn assert_counts(&self) {
        let mut tx = self.pool.begin().await.unwrap();
        let runs = sqlx::query("select run_key, version_id from dag_run").fetch_all(&mut *tx).await.unwrap();
        for run in runs {
            let key: RunKey = run.get(0);
            let graph = self.graphs.get(&mut tx, run.get(1)).await.unwrap();
            let before = counts(&mut tx, key).await;
            store::nodes::recount(&mut tx, key, graph.edges()).await.unwrap();
            assert_eq!(before, counts(&mut tx, key).await, "the counts of run {key} are wrong");
        }
        let drift = sqlx::query(
            "select s.gate, s.used, (
                 select coalesce(sum(t.pool_slots), 0) from task_instance t
                 where s.gate = 'pool:' || t.pool and (t.state in ('queued', 'running', 'restarting') or (t.state = 'deferred' and t.waits_for is not null)))::int as taken
             from slots s where s.gate like 'pool:%'",
        )
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        for slots in drift {
            let (gate, used, taken): (String, i32, i32) = (slots.get(0), slots.get(1), slots.get(2));
            assert_eq!(used, taken, "slots of {gate} leaked");
        }
        let leftovers: i64 = sqlx::query(
            "select count(*) from task_instance t join dag_run r using (run_key)
             where r.state in ('success', 'failed') and t.state in ('scheduled', 'queued', 'running', 'restarting', 'up_for_retry')",
        )
        .fetch_one(&mut *tx)
        .await
        .unwrap()
        .get(0);
        assert_eq!(leftovers, 0, "a finished run has tasks that are still to run");
        // A transaction that is dropped holds its locks until the pool has the connection back.
        tx.rollback().await.unwrap();
    }
}

async fn counts(conn: &mut sqlx::PgConnection, run: RunKey) -> Vec<String> {
    sqlx::query("select n::text || r.unfinished || ' ' || r.active || ' ' || r.in_line from run_node n join dag_run r using (run_key) where run_key = $1 order by node, lane")
        .bind(run)
        .fetch_all(conn)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.get(0))
        .collect()
}

impl WorkerAtWork {
    /// SIGTERM: drains, then ends.
    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the worker did not stop").unwrap();
    }

    /// As if the machine had died: nothing is settled, nothing is handed back.
    pub fn vanish(self) {
        self.task.abort();
    }
}
