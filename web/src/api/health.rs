//! `/version` and `/monitor/health`.

use std::time::Duration;

use axum::{Json, extract::State};
use chrono::{DateTime, SecondsFormat, Utc};
use orchestrator::store::processes::{self, ProcessKind};
use serde_json::{Value, json};

use crate::App;

/// Whoever asks after health wants to hear soon that there is none; a crowd in front of the database is no health either.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ours, and none of git: the program is what was built.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "git_version": null }))
}

/// Always 200, as in Airflow; what is wrong is in the answer.
pub(crate) async fn health(State(app): State<App>) -> Json<Value> {
    let heartbeat = async {
        let mut conn = app.pool.acquire().await?;
        processes::latest_heartbeat(&mut conn, ProcessKind::Scheduler).await
    };
    let heartbeat = tokio::time::timeout(PATIENCE, heartbeat).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
    let database = if heartbeat.is_ok() { "healthy" } else { "unhealthy" };
    let scheduler = heartbeat.ok().flatten();
    let status = if scheduler.is_some_and(|scheduler| scheduler.is_healthy) { "healthy" } else { "unhealthy" };
    let at = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, false);
    Json(json!({
        "metadatabase": { "status": database },
        "scheduler": { "status": status, "latest_scheduler_heartbeat": scheduler.map(|beat| at(beat.heartbeat_at)) },
        "triggerer": { "status": null, "latest_triggerer_heartbeat": null },
        "dag_processor": { "status": null, "latest_dag_processor_heartbeat": null },
    }))
}
