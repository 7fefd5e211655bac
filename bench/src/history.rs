//! Runs that ended long ago: what a database holds after some months.

use sqlx::PgPool;

/// Task instances of one old run.
const PER_RUN: i64 = 1_000;

/// Writes so many finished task instances, as if their runs had ended yesterday.
pub(crate) async fn write(pool: &PgPool, instances: i64) -> anyhow::Result<()> {
    if instances == 0 {
        return Ok(());
    }
    sqlx::query(
        "insert into dag_run (dag_id, run_id, version_id, run_type, state, run_after, triggered_by, queued_at, start_date,
                              end_date, run_day, unfinished)
         select d.dag_id, 'old_' || n, d.current_version_id, 'manual', 'success', now() - interval '1 day', 'test',
                now() - interval '1 day', now() - interval '1 day', now() - interval '1 day', current_date - 1, 0
         from dag d, generate_series(1, $1::bigint) as n",
    )
    .bind((instances + PER_RUN - 1) / PER_RUN)
    .execute(pool)
    .await?;
    sqlx::query(
        "insert into task_instance (run_key, node, dag_id, task_id, state, try_number, max_tries, queued_at, start_date,
                                    end_date)
         select r.run_key, n, r.dag_id, 't' || n, 'success', 1, 0, r.start_date, r.start_date, r.end_date
         from dag_run r, generate_series(0, $1::bigint - 1) as n where r.run_id like 'old\\_%'",
    )
    .bind(PER_RUN)
    .execute(pool)
    .await?;
    sqlx::query(
        "insert into run_node (run_key, node, upstream, success)
         select r.run_key, n, least(n, 1), least(n, 1)
         from dag_run r, generate_series(0, $1::int - 1) as n where r.run_id like 'old\\_%'",
    )
    .bind(PER_RUN as i32)
    .execute(pool)
    .await?;
    sqlx::query("vacuum analyze").execute(pool).await?;
    // What was written just now is not to reach the disk while something is measured.
    sqlx::query("checkpoint").execute(pool).await?;
    Ok(())
}
