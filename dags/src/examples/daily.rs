//! A schedule: once a day, in a time zone if you like, without the days that have passed. `backfill` makes those up.

use chrono::{TimeZone, Utc};
use orchestrator::prelude::*;

pub(crate) fn dag() -> Dag {
    let dag = Dag::new("example_daily")
        .source(include_str!("daily.rs"))
        .description("Says each day which day it stands for.")
        .tag("example")
        .schedule(Schedule::cron("@daily"))
        .start_date(Utc.with_ymd_and_hms(2024, 1, 1, 0, 0, 0).single().unwrap_or_default())
        .catchup(false);
    dag.task("day", day);
    dag
}

async fn day(context: Context) -> TaskResult<String> {
    let day = context.logical_date().unwrap_or_else(Utc::now).date_naive();
    tracing::info!("this run stands for {day}");
    Ok(day.to_string())
}
