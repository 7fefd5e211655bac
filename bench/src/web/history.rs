//! Runs that ended long ago, of every DAG.

use sqlx::PgPool;

use super::{BUSY, HUGE, TASKS, WIDE};

/// Writes so many finished task instances: those of the three large DAGs, and the rest in equal parts over the small ones.
pub(super) async fn write(pool: &PgPool, instances: i64) -> anyhow::Result<()> {
    let large = [(WIDE.0, 25, WIDE.1 as i64), (HUGE.0, 1, HUGE.1 as i64), (BUSY.0, BUSY.1, 1)];
    let of_large: i64 = large.iter().map(|(_, runs, tasks)| runs * tasks).sum();
    for (dag, runs, tasks) in large {
        of_dags(pool, &format!("= '{dag}'"), runs, tasks).await?;
    }
    let small: i64 = sqlx::query_scalar("select count(*) from dag where dag_id like 'small%'").fetch_one(pool).await?;
    let runs = (instances - of_large) / (small * TASKS as i64);
    of_dags(pool, "like 'small%'", runs, TASKS as i64).await?;
    sqlx::query("vacuum analyze").execute(pool).await?;
    Ok(())
}

/// A run an hour, the latest an hour ago; one in ten has failed.
async fn of_dags(pool: &PgPool, which: &str, runs: i64, tasks: i64) -> anyhow::Result<()> {
    let made = format!(
        "insert into dag_run (dag_id, run_id, version_id, run_type, state, run_after, triggered_by, queued_at, start_date,
                              end_date, run_day, unfinished)
         select d.dag_id, 'old_' || n, d.current_version_id, 'manual', (array['success', 'failed'])[1 + (n % 10) / 9]::run_state,
                at, 'test', at, at, at + interval '1 minute', at::date, 0
         from dag d, generate_series(1, $1::bigint) as n, lateral (select now() - n * interval '1 hour' as at) as t
         where d.dag_id {which} order by n desc",
    );
    sqlx::query(sqlx::AssertSqlSafe(made)).bind(runs).execute(pool).await?;
    let made = format!(
        "insert into task_instance (run_key, node, dag_id, task_id, state, try_number, max_tries, queued_at, start_date,
                                    end_date)
         select r.run_key, n, r.dag_id, 't' || n, r.state::text::task_state, 1, 0, r.start_date, r.start_date, r.end_date
         from dag_run r, generate_series(0, $1::bigint - 1) as n where r.dag_id {which}",
    );
    sqlx::query(sqlx::AssertSqlSafe(made)).bind(tasks).execute(pool).await?;
    Ok(())
}
