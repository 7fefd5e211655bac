//! What must hold after a round, read from the tables: nothing of the engine is asked.

use anyhow::ensure;
use orchestrator::ids::RunId;
use sqlx::{Connection, PgConnection, PgPool, Row};
use tokio::time::{Duration, sleep};

use super::node::{DAG, LAYERS, MARK, TICKS, WIDTH};

fn names(runs: &[RunId]) -> Vec<String> {
    runs.iter().map(|run| run.as_str().to_owned()).collect()
}

pub(super) async fn running(pool: &PgPool, runs: &[RunId]) -> anyhow::Result<i64> {
    let row = sqlx::query(
        "select count(*) from task_instance t join dag_run r using (run_key)
         where r.run_id = any($1) and t.state = 'running'",
    );
    Ok(row.bind(names(runs)).fetch_one(pool).await?.get(0))
}

pub(super) async fn some_task_runs(pool: &PgPool, runs: &[RunId]) -> anyhow::Result<()> {
    while running(pool, runs).await? == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// What a worker runs, as the database has it.
pub(super) async fn held_by(pool: &PgPool, pid: i32) -> anyhow::Result<Vec<i64>> {
    let row = sqlx::query(
        "select coalesce(array_agg(instance_key), '{}') from task_instance t join process p on p.process_id = t.worker_id
         where p.pid = $1 and t.state = 'running'",
    );
    Ok(row.bind(pid).fetch_one(pool).await?.get(0))
}

/// The task instance of that name.
pub(super) async fn instance(pool: &PgPool, run: &RunId, task: &str) -> anyhow::Result<i64> {
    let row = sqlx::query(
        "select instance_key from task_instance t join dag_run r using (run_key)
         where r.run_id = $1 and r.dag_id = $2 and t.task_id = $3",
    );
    Ok(row.bind(run.as_str()).bind(DAG).bind(task).fetch_one(pool).await?.get(0))
}

/// Waits until another worker runs one of these.
pub(super) async fn one_runs_elsewhere(pool: &PgPool, instances: &[i64], pid: i32) -> anyhow::Result<()> {
    let question = "select exists (select from task_instance t join process p on p.process_id = t.worker_id
                    where t.instance_key = any($1) and t.state = 'running' and p.pid <> $2)";
    while !sqlx::query(question).bind(instances).bind(pid).fetch_one(pool).await?.get::<bool, _>(0) {
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

pub(super) async fn have_ended(pool: &PgPool, runs: &[RunId]) -> anyhow::Result<bool> {
    let row = sqlx::query("select bool_and(state in ('success', 'failed')) from dag_run where run_id = any($1)");
    Ok(row.bind(names(runs)).fetch_one(pool).await?.get(0))
}

pub(super) async fn unfinished(pool: &PgPool, runs: &[RunId]) -> anyhow::Result<String> {
    let row = sqlx::query(
        "select string_agg(t.task_id || ' ' || t.state || ' ' || t.try_number, ', ')
         from task_instance t join dag_run r using (run_key) where r.run_id = any($1) and t.state <> 'success'",
    );
    Ok(row.bind(names(runs)).fetch_one(pool).await?.get::<Option<String>, _>(0).unwrap_or_default())
}

pub(super) async fn cut_connections(url: &str) -> anyhow::Result<()> {
    let mut own = PgConnection::connect(url).await?;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(&mut own)
    .await?;
    own.close().await?;
    Ok(())
}

/// Attempts in the books, and those that a fault ended.
pub(super) async fn attempts(pool: &PgPool) -> anyhow::Result<(i64, i64)> {
    let row = sqlx::query("select count(*), count(*) filter (where cause like '%heartbeat%') from task_try");
    let row = row.fetch_one(pool).await?;
    Ok((row.get(0), row.get(1)))
}

/// Each statement finds what must not be.
const FAULTY: [(&str, &str); 6] = [
    (
        "a run did not succeed",
        "select r.run_id || ' ' || r.state from dag_run r where r.run_id = any($1) and r.state <> 'success'",
    ),
    (
        "a task's state is not explained by its tries",
        "select t.task_id || ' ' || t.state from task_instance t join dag_run r using (run_key)
         where r.run_id = any($1) and (t.state <> 'success' or not exists (
             select from task_try y where y.instance_key = t.instance_key and y.state = 'success'
             and y.try_number = t.try_number))",
    ),
    (
        "an attempt is in the books twice",
        "select y.attempt::text from task_try y join task_instance t using (instance_key) join dag_run r using (run_key)
         where r.run_id = any($1) group by y.attempt having count(*) > 1",
    ),
    (
        "a task ran before the layer before it had ended for the last time",
        "with last as (
             select t.run_key, t.task_id, max(y.start_date) as began, max(y.end_date) as ended
             from task_instance t join dag_run r using (run_key) join task_try y using (instance_key)
             where r.run_id = any($1) and y.state = 'success' group by t.run_key, t.task_id
         )
         select t.task_id || ' before ' || u.task_id from last t
         join last u on u.run_key = t.run_key and left(u.task_id, 2) = 'l' || (substr(t.task_id, 2, 1)::int - 1)
         where t.task_id like 'l%' and t.began < u.ended",
    ),
    (
        "a count is wrong, or a slot leaked",
        "select gate || ' has ' || used || ' taken' from slots
         where used <> 0 and gate <> 'pool:ticks' and $1::text[] is not null
         union all
         select run_id || ' has ' || active || ' active, ' || in_line || ' in line' from dag_run
         where run_id = any($1) and (active <> 0 or in_line <> 0 or unfinished <> 0)
         union all
         select 'node ' || n.node || ' has ' || n.success || ' of ' || n.upstream from run_node n
         join dag_run r using (run_key) where r.run_id = any($1) and n.success <> n.upstream",
    ),
    (
        "two attempts of one task at once",
        "select t.task_id from task_instance t join dag_run r using (run_key)
         join task_try a on a.instance_key = t.instance_key
         join task_try b on b.instance_key = t.instance_key and b.attempt <> a.attempt
              and b.start_date < a.end_date and b.start_date >= a.start_date
         where r.run_id = any($1)",
    ),
];

/// What must not be in runs in which nobody cleared anything, either.
const FAULTY_WITHOUT_CLEARS: [(&str, &str); 4] = [
    (
        "a task succeeded more than once",
        "select t.task_id from task_instance t join dag_run r using (run_key) join task_try y using (instance_key)
         where r.run_id = any($1) and y.state = 'success' group by t.instance_key, t.task_id having count(*) > 1",
    ),
    (
        "a task went on after it had succeeded",
        "select t.task_id || ' try ' || l.try_number from task_instance t join dag_run r using (run_key)
         join task_try s on s.instance_key = t.instance_key and s.state = 'success'
         join task_try l on l.instance_key = t.instance_key and l.end_date > s.end_date
         where r.run_id = any($1)",
    ),
    (
        "a task started before the layer before it had ended",
        "select t.task_id || ' before ' || u.task_id from task_instance t join dag_run r using (run_key)
         join task_try y on y.instance_key = t.instance_key
         join task_instance u on u.run_key = t.run_key and left(u.task_id, 2) = 'l' || (substr(t.task_id, 2, 1)::int - 1)
         join task_try e on e.instance_key = u.instance_key and e.state = 'success'
         where r.run_id = any($1) and t.task_id like 'l%' and y.start_date < e.end_date",
    ),
    (
        "a task that waits for one success started before there was one",
        "select t.task_id from task_instance t join dag_run r using (run_key) join task_try y using (instance_key)
         where r.run_id = any($1) and t.task_id like 'any%' and y.start_date < (
             select min(e.end_date) from task_instance u join task_try e using (instance_key)
             where u.run_key = t.run_key and left(u.task_id, 2) = 'l' || right(t.task_id, 1) and e.state = 'success')",
    ),
];

/// # Errors
/// Something is there that must not be.
pub(super) async fn books(pool: &PgPool, runs: &[RunId]) -> anyhow::Result<()> {
    let counted =
        sqlx::query("select count(*) from task_instance t join dag_run r using (run_key) where run_id = any($1)")
            .bind(names(runs))
            .fetch_one(pool)
            .await?
            .get::<i64, _>(0);
    ensure!(counted == (runs.len() * LAYERS * (WIDTH + 1)) as i64, "{counted} task instances");
    nothing_faulty(pool, runs, &FAULTY).await
}

/// # Errors
/// Something is there that must not be, unless somebody has cleared it.
pub(super) async fn books_without_clears(pool: &PgPool, runs: &[RunId]) -> anyhow::Result<()> {
    nothing_faulty(pool, runs, &FAULTY_WITHOUT_CLEARS).await
}

async fn nothing_faulty(pool: &PgPool, runs: &[RunId], faulty: &[(&'static str, &'static str)]) -> anyhow::Result<()> {
    for (what, sql) in faulty {
        let found = sqlx::query(*sql).bind(names(runs)).fetch_all(pool).await?;
        let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
        ensure!(found.is_empty(), "{what}: {}", found.join(", "));
    }
    Ok(())
}

/// Waits until no program of a task runs any more: all runs have ended, and with a worker go its programs.
///
/// # Errors
/// One stays.
pub(super) async fn no_orphans(patience: Duration) -> anyhow::Result<()> {
    let began = tokio::time::Instant::now();
    loop {
        let orphans = programs()?;
        if orphans.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < patience, "programs without a worker: {orphans:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The processes that a task has started.
fn programs() -> anyhow::Result<Vec<String>> {
    let mark = format!("{MARK}=");
    let is_marked = |pid: &String| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
    };
    let pids = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_marked).collect())
}

/// How many slots have fired so far.
///
/// # Errors
/// One has fired twice, or was left out.
pub(super) async fn ticks(pool: &PgPool) -> anyhow::Result<i64> {
    let row = sqlx::query(
        "select count(*), count(distinct logical_date),
                coalesce(extract(epoch from max(logical_date) - min(logical_date))::bigint + 1, 0)
         from dag_run where dag_id = $1",
    );
    let row = row.bind(TICKS).fetch_one(pool).await?;
    let (runs, slots, expected): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    ensure!(runs == slots && slots == expected, "{runs} runs for {slots} of {expected} slots");
    Ok(runs)
}
