//! Writing down what somebody wants to be told, in the transaction in which it happens.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::{
    outcome::{Ending, Outcome},
    settle::Runs,
};
use crate::{
    dag::Graph,
    ids::RunKey,
    notify::Event,
    state::{RunState, TaskState},
    store::{instances::Recorded, notifications},
};

/// What became of attempts.
pub(super) async fn about_tasks(
    conn: &mut PgConnection,
    runs: &Runs,
    outcomes: &[Outcome],
    recorded: &Recorded,
) -> anyhow::Result<()> {
    let ended: HashMap<_, _> = recorded.ended.iter().map(|ended| (ended.instance_key, ended.state)).collect();
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
