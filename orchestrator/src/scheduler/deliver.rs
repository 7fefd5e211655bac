//! Duty: tell callbacks what happened. It has a task of its own, for whoever is told may take long.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{FutureExt, future::join_all};
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::By,
    dag::{Definition, Registry},
    notify::Notifier,
    store::{
        dags, events,
        notifications::{self, Taken},
    },
    wake,
};

/// How long somebody who is told may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Things that one scheduler tells at once ...
const AT_ONCE: usize = 128;

/// ... and so many of them about one DAG: somebody who does not answer must not keep the others from being told.
const AT_ONCE_OF_DAG: usize = 16;

/// How long a scheduler of an older binary leaves to others what is to be told.
const FOR_OTHERS: Duration = Duration::from_secs(5);

/// How long nobody else tries.
const LEASE: Duration = Duration::from_secs(60);

/// With the delays between them about a day.
const ATTEMPTS_MAX: i32 = 34;

const DELAY_MAX: Duration = Duration::from_secs(3_600);

/// Tells until `stop`.
pub(super) async fn run(pool: PgPool, registry: Arc<Registry>, stop: CancellationToken) {
    let room = || Arc::new(Semaphore::new(AT_ONCE_OF_DAG));
    let rooms: BTreeMap<_, _> = registry.dag_ids().into_iter().map(|dag| (dag.as_str().to_owned(), room())).collect();
    let mut telling = JoinSet::new();
    while !stop.is_cancelled() {
        while telling.len() < AT_ONCE {
            match take(&pool, &with_room(&rooms)).await {
                Ok(Some(taken)) => {
                    let (pool, registry) = (pool.clone(), Arc::clone(&registry));
                    let room = rooms.get(taken.notice.dag_id.as_str()).cloned().map(Semaphore::try_acquire_owned);
                    telling.spawn(async move {
                        warn(deliver(&pool, &registry, taken).await);
                        drop(room);
                    });
                }
                Ok(None) => break,
                Err(error) => {
                    warn(Err(error));
                    break;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            Some(_) = telling.join_next() => {}
            () = tokio::time::sleep(wake::POLL) => {}
        }
    }
    telling.join_all().await;
}

/// Those of the DAGs about which more may be told.
fn with_room(rooms: &BTreeMap<String, Arc<Semaphore>>) -> Vec<String> {
    rooms.iter().filter(|(_, room)| room.available_permits() > 0).map(|(dag, _)| dag.clone()).collect()
}

fn warn(delivered: anyhow::Result<()>) {
    if let Err(error) = delivered {
        tracing::warn!(error = format!("{error:#}"), "cannot deliver a notification; trying again");
    }
}

async fn take(pool: &PgPool, dags: &[String]) -> anyhow::Result<Option<Taken>> {
    Ok(notifications::take_one(&mut *pool.acquire().await?, dags, LEASE).await?)
}

/// Tells one thing, if there is one to tell.
///
/// # Errors
/// The database is down.
pub async fn deliver_one(pool: &PgPool, registry: &Registry, dags: &[String]) -> anyhow::Result<bool> {
    let Some(taken) = take(pool, dags).await? else { return Ok(false) };
    deliver(pool, registry, taken).await?;
    Ok(true)
}

async fn deliver(pool: &PgPool, registry: &Registry, taken: Taken) -> anyhow::Result<()> {
    let definition = registry.get(&taken.notice.dag_id).context("this binary has no such dag")?;
    if is_older(&mut *pool.acquire().await?, definition).await? {
        // It may want others to be told, who are told by a binary that knows them.
        notifications::leave(&mut *pool.acquire().await?, taken.notification_id, FOR_OTHERS).await?;
        return Ok(());
    }
    // A callback that is gone since wants to be told nothing.
    let notifiers = definition.notifiers(taken.notice.task_id.as_ref(), taken.notice.event, taken.ordinal);
    // Without a connection: whoever is told may need long.
    let (told, error) = tell(notifiers, &taken).await;
    let conn = &mut *pool.acquire().await?;
    let Taken { notification_id, notice, attempts, .. } = taken;
    match error {
        None => notifications::delete(conn, notification_id).await?,
        Some(error) if attempts >= ATTEMPTS_MAX => {
            tracing::error!(%notice, error = format!("{error:#}"), "somebody could not be told, and it is not tried again");
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
        Some(error) => {
            let delay = Duration::from_secs(1 << attempts.clamp(0, 12)).min(DELAY_MAX);
            tracing::warn!(%notice, error = format!("{error:#}"), ?delay, "cannot tell; trying again");
            notifications::put_off(conn, notification_id, delay, &told).await?;
        }
    }
    Ok(())
}

/// Whether another binary's version of the DAG is the current one.
async fn is_older(conn: &mut PgConnection, definition: &Definition) -> sqlx::Result<bool> {
    let current = dags::current_hash(conn, definition.graph().dag_id()).await?;
    Ok(current.is_some_and(|hash| hash != definition.graph().hash()))
}

/// Tells those who have not been told yet, all at once. Says who has been told by now, and what went wrong with the first
/// of the others.
async fn tell(notifiers: &[Arc<dyn Notifier>], taken: &Taken) -> (Vec<i32>, Option<anyhow::Error>) {
    let open = notifiers.iter().zip(0..).filter(|(_, place)| !taken.told.contains(place));
    let results =
        join_all(open.map(|(notifier, place)| async move { (place, tell_one(&**notifier, taken).await) })).await;
    let (mut told, mut error) = (taken.told.clone(), None);
    for (place, result) in results {
        match result {
            Ok(()) => told.push(place),
            Err(wrong) => error = error.or(Some(wrong)),
        }
    }
    (told, error)
}

/// Whoever is told is somebody else's code: neither its panic nor its slowness may keep the others from being told.
async fn tell_one(notifier: &dyn Notifier, taken: &Taken) -> anyhow::Result<()> {
    let told = AssertUnwindSafe(notifier.notify(&taken.notice)).catch_unwind();
    let told = tokio::time::timeout(PATIENCE, told).await;
    let told = told.with_context(|| format!("it took longer than {PATIENCE:?}"))?;
    told.unwrap_or_else(|_| Err(anyhow::anyhow!("the callback panicked")))
}
