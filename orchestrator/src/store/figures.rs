//! How much there is of what: for those who watch.

use sqlx::PgConnection;

/// A name and how many there are of it.
#[derive(Clone, Debug)]
pub struct Count {
    /// Of what.
    pub name: String,
    /// How many.
    pub number: i64,
}

/// How many task instances there are in each state that is not final; what is finished does not make it slower.
///
/// # Errors
/// The database is down.
pub async fn unfinished_instances(conn: &mut PgConnection) -> sqlx::Result<Vec<Count>> {
    sqlx::query_as!(
        Count,
        // One part for each of the partial indexes.
        r#"select state::text as "name!", count(*) as "number!" from (
               select state from task_instance where state = 'queued'
               union all
               select state from task_instance where state in ('running', 'restarting')
               union all
               select state from task_instance where state = 'scheduled' and waits_for <> 'run'
               union all
               select state from task_instance where state = 'scheduled' and waits_for = 'run'
               union all
               select state from task_instance where state in ('up_for_retry', 'up_for_reschedule', 'deferred')
           ) unfinished group by state order by state"#
    )
    .fetch_all(conn)
    .await
}

/// How many runs are queued or running.
///
/// # Errors
/// The database is down.
pub async fn active_runs(conn: &mut PgConnection) -> sqlx::Result<Vec<Count>> {
    sqlx::query_as!(
        Count,
        r#"select state::text as "name!", count(*) as "number!" from dag_run
           where state in ('queued', 'running') group by state order by state"#
    )
    .fetch_all(conn)
    .await
}

/// A process that lives.
#[derive(Clone, Debug)]
pub struct Beat {
    /// What it does.
    pub kind: String,
    /// Where.
    pub hostname: String,
    /// Which one it is.
    pub number: i32,
    /// How long ago it was heard, in seconds.
    pub age_secs: f64,
}

/// The processes that live.
///
/// # Errors
/// The database is down.
pub async fn heartbeats(conn: &mut PgConnection) -> sqlx::Result<Vec<Beat>> {
    sqlx::query_as!(
        Beat,
        r#"select kind::text as "kind!", hostname, number,
                  extract(epoch from clock_timestamp() - heartbeat_at)::float8 as "age_secs!"
           from process where state = 'alive' order by number"#
    )
    .fetch_all(conn)
    .await
}

/// What the database says of itself.
#[derive(Clone, Debug)]
pub struct Database {
    /// The version of Postgres.
    pub version: String,
    /// The number of the latest migration.
    pub migration: i64,
    /// How large it is, in bytes.
    pub bytes: i64,
    /// How many connections there are to it, and how many the server lets in to all of its databases.
    pub connections: i64,
    /// That limit.
    pub max_connections: i64,
}

/// What the database says of itself.
///
/// # Errors
/// The database is down.
pub async fn database(conn: &mut PgConnection) -> sqlx::Result<Database> {
    sqlx::query_as!(
        Database,
        r#"select current_setting('server_version') as "version!", pg_database_size(current_database()) as "bytes!",
                  (select max(version) from _sqlx_migrations where success) as "migration!",
                  (select count(*) from pg_stat_activity where datname = current_database()) as "connections!",
                  current_setting('max_connections')::bigint as "max_connections!""#
    )
    .fetch_one(conn)
    .await
}

/// How many transactions this database has committed since its statistics began.
///
/// # Errors
/// The database is down.
pub async fn commits(conn: &mut PgConnection) -> sqlx::Result<i64> {
    let found = sqlx::query_scalar!("select xact_commit from pg_stat_database where datname = current_database()");
    Ok(found.fetch_one(conn).await?.unwrap_or(0))
}
