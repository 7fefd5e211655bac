//! Duty: tell callbacks what happened. It has a task of its own, for whoever is told may take long.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::FutureExt;
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    commands::By,
    dag::Registry,
    store::{
        events,
        notifications::{self, Taken},
    },
    wake,
};

/// How long all who are told of one thing may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nobody else tries.
const LEASE: Duration = Duration::from_secs(60);

/// With the delays between them about a day.
const ATTEMPTS_MAX: i32 = 34;

const DELAY_MAX: Duration = Duration::from_secs(3_600);

/// Tells until `stop`.
pub(super) async fn run(pool: PgPool, registry: Arc<Registry>, stop: CancellationToken) {
    let dags: Vec<_> = registry.dag_ids().into_iter().map(|dag| dag.as_str().to_owned()).collect();
    while !stop.is_cancelled() {
        match deliver_one(&pool, &registry, &dags).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot deliver a notification; trying again"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wake::POLL) => {}
        }
    }
}

/// Tells one thing, if there is one to tell.
///
/// # Errors
/// The database is down.
pub async fn deliver_one(pool: &PgPool, registry: &Registry, dags: &[String]) -> anyhow::Result<bool> {
    let Some(taken) = notifications::take_one(&mut *pool.acquire().await?, dags, LEASE).await? else {
        return Ok(false);
    };
    // Without a connection: whoever is told may need long.
    let told = tell(registry, &taken).await;
    let conn = &mut *pool.acquire().await?;
    let Taken { notification_id, notice, attempts, .. } = taken;
    match told {
        Ok(()) => notifications::delete(conn, notification_id).await?,
        Err(error) if attempts >= ATTEMPTS_MAX => {
            tracing::error!(%notice, error = format!("{error:#}"), "nobody could be told, and it is not tried again");
            let extra = json!({ "notice": notice, "error": format!("{error:#}") });
            let event = events::Event {
                event: "notification_failed",
                dag_id: Some(&notice.dag_id),
                run_id: Some(&notice.run_id),
                by: &By::scheduler(),
                extra,
            };
            events::append(conn, &event).await?;
            notifications::delete(conn, notification_id).await?;
        }
        Err(error) => {
            let delay = Duration::from_secs(1 << attempts.clamp(0, 12)).min(DELAY_MAX);
            tracing::warn!(%notice, error = format!("{error:#}"), ?delay, "cannot tell; trying again");
            notifications::put_off(conn, notification_id, delay).await?;
        }
    }
    Ok(true)
}

async fn tell(registry: &Registry, taken: &Taken) -> anyhow::Result<()> {
    let Taken { notice, ordinal, .. } = taken;
    let definition = registry.get(&notice.dag_id).context("this binary has no such dag")?;
    // A callback that is gone since wants to be told nothing.
    let tell_all = async {
        for notifier in definition.notifiers(notice.task_id.as_ref(), notice.event, *ordinal) {
            notifier.notify(notice).await?;
        }
        anyhow::Ok(())
    };
    // Whoever is told is somebody else's code: neither its panic nor its slowness may keep the others from being told.
    let told = tokio::time::timeout(PATIENCE, AssertUnwindSafe(tell_all).catch_unwind()).await;
    let told = told.with_context(|| format!("it took longer than {PATIENCE:?}"))?;
    told.unwrap_or_else(|_| Err(anyhow::anyhow!("the callback panicked")))
}
