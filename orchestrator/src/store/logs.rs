//! `task_log`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    ids::InstanceKey,
    task_log::{LogLine, LogOf},
    told::{Kind, Told},
};

/// More than these a try does not tell: a body that renders in a loop.
const TOLD_MAX: i64 = 200;

/// Appends lines, of any tries, in order.
///
/// # Errors
/// The database is down.
pub async fn append(conn: &mut PgConnection, lines: &[(LogOf, LogLine)]) -> sqlx::Result<()> {
    let days: Vec<_> = lines.iter().map(|(of, _)| of.run_day).collect();
    let instances: Vec<_> = lines.iter().map(|(of, _)| of.instance.0).collect();
    let tries: Vec<_> = lines.iter().map(|(of, _)| of.try_number).collect();
    let at: Vec<_> = lines.iter().map(|(_, line)| line.at).collect();
    let levels: Vec<_> = lines.iter().map(|(_, line)| line.level.to_owned()).collect();
    let loggers: Vec<_> = lines.iter().map(|(_, line)| line.logger.clone()).collect();
    let messages: Vec<_> = lines.iter().map(|(_, line)| line.message.clone()).collect();
    sqlx::query!(
        "insert into task_log (run_day, instance_key, try_number, logged_at, level, logger, message)
         select * from unnest($1::date[], $2::bigint[], $3::int[], $4::timestamptz[], $5::text[], $6::text[], $7::text[])",
        &days,
        &instances,
        &tries,
        &at,
        &levels,
        &loggers,
        &messages
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A line as it was stored.
#[derive(Clone, Debug)]
pub struct LogRow {
    /// Its place among all lines; later lines have higher numbers.
    pub line: i64,
    /// When it was said.
    pub logged_at: DateTime<Utc>,
    /// `INFO`, `WARN`, ...
    pub level: String,
    /// The Rust module that said it.
    pub logger: String,
    /// What was said.
    pub message: String,
}

/// The lines of a try after line `after`, in order.
///
/// # Errors
/// The database is down.
pub async fn of_try(
    conn: &mut PgConnection,
    instance: InstanceKey,
    try_number: i32,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<LogRow>> {
    sqlx::query_as!(
        LogRow,
        "select line, logged_at, level, logger, message from task_log
         where instance_key = $1 and try_number = $2 and line > $3
           and logger not in ('streamcommerce.link', 'streamcommerce.rendered')
         order by line limit $4",
        instance.0,
        try_number,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Which lines of a try.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Only of these levels; all if there are none.
    pub levels: Vec<String>,
    /// Only with this in the message, whatever the case.
    pub text: String,
    /// Only before this line.
    pub before: Option<i64>,
}

/// The last lines of a try that the filter lets through, in order; at most `limit`.
///
/// # Errors
/// The database is down.
pub async fn last_of_try(
    conn: &mut PgConnection,
    instance: InstanceKey,
    try_number: i32,
    filter: &LogFilter,
    limit: i64,
) -> sqlx::Result<Vec<LogRow>> {
    let mut lines = sqlx::query_as!(
        LogRow,
        "select line, logged_at, level, logger, message from task_log
         where instance_key = $1 and try_number = $2 and line < $3
           and (cardinality($4::text[]) = 0 or level = any($4)) and position(lower($5) in lower(message)) > 0
           and logger not in ('streamcommerce.link', 'streamcommerce.rendered')
         order by line desc limit $6",
        instance.0,
        try_number,
        filter.before.unwrap_or(i64::MAX),
        &filter.levels,
        filter.text,
        limit
    )
    .fetch_all(conn)
    .await?;
    lines.reverse();
    Ok(lines)
}

/// The first lines of a try after one of them, that are as the filter says.
///
/// # Errors
/// The database is down.
pub async fn next_of_try(
    conn: &mut PgConnection,
    instance: InstanceKey,
    try_number: i32,
    filter: &LogFilter,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<LogRow>> {
    sqlx::query_as!(
        LogRow,
        "select line, logged_at, level, logger, message from task_log
         where instance_key = $1 and try_number = $2 and line > $3
           and (cardinality($4::text[]) = 0 or level = any($4)) and position(lower($5) in lower(message)) > 0
           and logger not in ('streamcommerce.link', 'streamcommerce.rendered')
         order by line limit $6",
        instance.0,
        try_number,
        after,
        &filter.levels,
        filter.text,
        limit
    )
    .fetch_all(conn)
    .await
}

/// What a try told of itself beside its log, in order; of a name that it told twice, the last.
///
/// # Errors
/// The database is down.
pub async fn told_of_try(
    conn: &mut PgConnection,
    instance: InstanceKey,
    try_number: i32,
) -> sqlx::Result<Vec<(Kind, Told)>> {
    let lines = sqlx::query!(
        "select logger, message from task_log
         where instance_key = $1 and try_number = $2 and logger in ('streamcommerce.link', 'streamcommerce.rendered')
         order by line desc limit $3",
        instance.0,
        try_number,
        TOLD_MAX
    )
    .fetch_all(conn)
    .await?;
    let mut all: Vec<(Kind, Told)> = Vec::with_capacity(lines.len());
    for line in lines {
        let kind = if line.logger == Kind::Link.logger() { Kind::Link } else { Kind::Rendered };
        // A line that is no JSON was cut on its way.
        let Ok(told) = serde_json::from_str::<Told>(&line.message) else { continue };
        if all.iter().all(|(known, other)| (*known, &other.name) != (kind, &told.name)) {
            all.push((kind, told));
        }
    }
    all.reverse();
    Ok(all)
}
