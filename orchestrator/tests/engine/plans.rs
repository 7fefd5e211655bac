//! The plans of a database that was analysed while it was empty, which says that reading all of a table costs nothing.
//! They are kept for as long as a connection lives.

use orchestrator::{prelude::*, state::RunState, worker::Settings};
use sqlx::{Connection as _, PgConnection, PgPool};

use super::world::{PATIENCE, World};

const RUNS: usize = 30;
const TASKS: usize = 10;

#[sqlx::test(migrations = "../migrations")]
async fn a_settle_reads_the_nodes_after_it_and_no_others(pool: PgPool) {
    sqlx::query("vacuum analyze").execute(&pool).await.unwrap();
    let dag = Dag::new("chain").max_active_runs(RUNS as u32);
    let tasks: Vec<_> = (0..TASKS).map(|number| dag.task(&format!("t{number}"), async |_: Context| Ok(()))).collect();
    tasks.windows(2).for_each(|pair| dag.chain(pair[0] >> pair[1]));
    let world = World::new(pool, vec![dag]).await;
    let worker = world.worker(Settings::default());
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(world.start("chain").await);
    }
    for run in &runs {
        assert_eq!(world.finished("chain", run).await, RunState::Success);
    }
    worker.stop().await;
    let read = read_by_index(world, "run_node_pkey").await;
    // Each is looked up when its upstream ends, and when its run is looked over; over and over at every settle, some 6,000.
    let nodes = (RUNS * TASKS) as i64;
    assert!(read <= 5 * nodes, "{read} entries read for {nodes} nodes");
}

/// How many entries of an index were read. A session says so when it ends.
async fn read_by_index(world: World, index: &str) -> i64 {
    let database = world.pool.connect_options();
    world.pool.close().await;
    let mut conn = PgConnection::connect_with(&database).await.unwrap();
    let ended = async {
        let others = "select count(*) from pg_stat_activity
                      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'";
        while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut conn).await.unwrap() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the sessions of the world end");
    let read = "select idx_tup_read from pg_stat_user_indexes where indexrelname = $1";
    sqlx::query_scalar(read).bind(index).fetch_one(&mut conn).await.unwrap()
}
