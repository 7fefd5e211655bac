//! Writing down what matters to somebody else (callbacks, DAGs that wait for assets), in the transaction in which it
//! happens.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::{
    held::Runs,
    outcome::{Ending, Outcome},
};
use crate::{
    dag::Graph,
    ids::RunKey,
    notify::Event,
    state::{RunState, TaskState},
    store::{assets, notifications, outcomes::Recorded},
};

/// What became of attempts.
pub(super) async fn about_tasks(
    conn: &mut PgConnection,
    runs: &Runs,
    outcomes: &[Outcome],
    recorded: &Recorded,
) -> anyhow::Result<()> {
    // What was cleared while it ran has not failed.
    let ended = recorded.ended.iter().filter(|ended| ended.before == TaskState::Running);
    let ended: HashMap<_, _> = ended.map(|ended| (ended.instance_key, ended.state)).collect();
    let mut happened = Vec::new();
    for outcome in outcomes {
        let graph = runs.graph(outcome.run_key)?;
        let callbacks = graph.task(outcome.node).map_or(&[][..], |task| &task.callbacks);
        let event = match (ended.get(&outcome.instance), &outcome.ending) {
            (Some(TaskState::Success), _) => Event::TaskSuccess,
            (Some(TaskState::Failed), _) => Event::TaskFailure,
            (Some(TaskState::Skipped), _) => Event::TaskSkipped,
            (Some(TaskState::UpForRetry), Ending::Retry { .. }) => Event::TaskRetry,
            _ => continue,
        };
        if callbacks.contains(&event) {
            happened.push((outcome.instance, event, outcome.ending.cause()));
        }
    }
    if !happened.is_empty() {
        notifications::about_tasks(conn, &happened).await?;
    }
    Ok(())
}

/// The assets that attempts have updated; says for how many DAGs that matters.
pub(super) async fn about_assets(conn: &mut PgConnection, runs: &Runs, recorded: &Recorded) -> anyhow::Result<u64> {
    let mut updates = Vec::new();
    for ended in recorded.ended.iter().filter(|ended| ended.state == TaskState::Success) {
        let outlets = runs.graph(ended.run_key)?.task(ended.node).map_or(&[][..], |task| &task.outlets);
        updates.extend(outlets.iter().map(|asset| (ended.instance_key, asset.as_str())));
    }
    if updates.is_empty() { Ok(0) } else { Ok(assets::updated_by(conn, &updates).await?) }
}

/// How a run ended.
///
/// # Errors
/// The database is down.
pub async fn about_run(conn: &mut PgConnection, graph: &Graph, run: RunKey, state: RunState) -> sqlx::Result<()> {
    let event = if state == RunState::Success { Event::RunSuccess } else { Event::RunFailure };
    if !graph.callbacks().contains(&event) {
        return Ok(());
    }
    notifications::about_runs(conn, &[(run, event)]).await
}
