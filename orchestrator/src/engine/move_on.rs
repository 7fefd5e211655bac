//! Runs are decided anew, as a whole: after their start, a clear, a failure that runs through many levels.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    admit::{Agenda, admit},
    callbacks,
    expand::{Expanded, expand},
    gate::Freed,
    graphs::Graphs,
    held::Runs,
    look_back::hold_back,
    settle::Settled,
};
use crate::{
    dag::Graph,
    ids::{Node, RunKey},
    readiness::{Decision, Setups, decide},
    state::RunState,
    store::{
        admission::Place,
        due::{self, Due},
        instances, rechecks,
        run_locks::LockedRun,
        run_states, runs,
    },
};

/// Decides runs anew, under their locks: after their start, a clear, or anything else that wrote states; and hands on
/// what was freed by that. Says how many task instances became claimable and which runs ended.
///
/// # Errors
/// The database is down.
pub async fn move_on(
    conn: &mut PgConnection,
    graphs: &Graphs,
    runs: &[LockedRun],
    freed: Freed,
) -> anyhow::Result<Settled> {
    let running = runs.iter().filter(|run| run.state == RunState::Running);
    let runs = Runs::load(conn, graphs, running.map(|run| (run.run_key, run.version)).collect()).await?;
    let mut settled = Settled::default();
    let (mut agenda, mut drained) = (Agenda { freed, ..Agenda::default() }, BTreeSet::new());
    for run in runs.keys() {
        if cascade(conn, &runs, run, &mut agenda).await? == 0 {
            drained.insert(run);
        }
    }
    settled.finished = finish(conn, &runs, &drained).await?;
    settled.rechecks = write_rechecks(conn, &runs, &agenda.skipped_in, &settled.finished).await?;
    hold_back(conn, &runs, &mut agenda.ready).await?;
    for run in runs.keys() {
        agenda.runs.insert(run, runs::counts(conn, run).await?);
    }
    settled.queued = admit(conn, &runs, agenda).await? as u64;
    Ok(settled)
}

/// Lets what is due in a run go on, by the same rules and limits as the first time: one whose upstream was cleared
/// meanwhile waits for it again, one that a branch has skipped meanwhile is skipped. Says how many were due. Hold the
/// run's lock.
///
/// # Errors
/// The database is down.
pub async fn repeat_due(
    conn: &mut PgConnection,
    graphs: &Graphs,
    run: LockedRun,
    now: DateTime<Utc>,
) -> anyhow::Result<usize> {
    let due = due::wait_again(conn, run.run_key, now).await?;
    let graph = graphs.get(conn, run.version).await?;
    let may_run = |due: &Due| {
        let rule = graph.task(due.node).map(|task| task.trigger_rule).unwrap_or_default();
        // What it is mapped over may have been made anew meanwhile.
        let decides_alone =
            !due.is_skipped && graph.source(due.node).is_none() && decides_by_counts(&graph, due.node, due.map_index);
        decides_alone && decide(rule, due.counts, Setups::default()) == Decision::Run
    };
    let mut freed = Freed::default();
    due.iter()
        .filter(|due| due.kept_slots)
        .filter_map(|due| graph.task(due.node))
        .for_each(|task| freed.add_pool(task));
    if !due.iter().all(may_run) {
        move_on(conn, graphs, &[run], freed).await?;
        return Ok(due.len());
    }
    let runs = Runs::load(conn, graphs, HashMap::from([(run.run_key, run.version)])).await?;
    let mut agenda = Agenda { freed, ..Agenda::default() };
    // It owed nothing to the run before when it began, and a clear there does not take that back.
    let place = |due: &Due| Place { run_key: run.run_key, node: due.node, map_index: due.map_index };
    agenda.ready.extend(due.iter().map(place));
    agenda.runs.insert(run.run_key, runs::counts(conn, run.run_key).await?);
    admit(conn, &runs, agenda).await?;
    Ok(due.len())
}

/// Whether the counts of a node (of a lane of it) decide alone: it looks at nothing else, and has its instances. What comes
/// directly after what it is mapped over waits for that, whatever its rule.
pub(super) fn decides_by_counts(graph: &Graph, node: Node, map_index: i32) -> bool {
    !graph.looks_beyond(node) && (graph.mapped(node).is_none() || map_index >= 0) && !graph.comes_after_source(node)
}

/// Decides every waiting node of a run and what follows; returns how many of its task instances are unfinished.
pub(super) async fn cascade(
    conn: &mut PgConnection,
    runs: &Runs,
    run: RunKey,
    agenda: &mut Agenda,
) -> anyhow::Result<i32> {
    let graph = runs.graph(run)?;
    let Expanded { steps, resized } = expand(conn, graph, run).await?;
    if let Some(freed) = resized {
        // What was removed is waited for no more.
        agenda.skipped_in.insert(run);
        agenda.freed.merge(freed);
        // Counted anew, without those that have just ended.
        agenda.runs.insert(run, runs::counts(conn, run).await?);
        agenda.ended.remove(&run);
    }
    let place = |(node, map_index): &(Node, i32)| Place { run_key: run, node: *node, map_index: *map_index };
    agenda.ready.extend(steps.ready.iter().map(place));
    if !steps.ended.is_empty() {
        agenda.skipped_in.insert(run);
    }
    Ok(instances::end_without_running(conn, run, &steps.ended, graph.edges()).await?)
}

/// Ends those of the drained runs that may end, with the verdict of their leaves.
pub(super) async fn finish(
    conn: &mut PgConnection,
    runs: &Runs,
    drained: &BTreeSet<RunKey>,
) -> anyhow::Result<Vec<(RunKey, RunState)>> {
    if drained.is_empty() {
        return Ok(Vec::new());
    }
    let mut leaves = Vec::new();
    for run in drained {
        leaves.extend(runs.graph(*run)?.leaves().into_iter().map(|leaf| (*run, leaf)));
    }
    let drained: Vec<_> = drained.iter().copied().collect();
    let finished = run_states::finish(conn, &drained, &leaves).await?;
    for (run, state) in &finished {
        callbacks::about_run(conn, runs.graph(*run)?, *run, *state).await?;
    }
    Ok(finished)
}

/// Writes down in which of the runs something happened that matters to others of their DAG.
pub(super) async fn write_rechecks(
    conn: &mut PgConnection,
    runs: &Runs,
    changed: &BTreeSet<RunKey>,
    finished: &[(RunKey, RunState)],
) -> anyhow::Result<usize> {
    let mut matters = Vec::new();
    for run in runs.keys() {
        let graph = runs.graph(run)?;
        let failed = finished.contains(&(run, RunState::Failed));
        if (graph.looks_back() && changed.contains(&run))
            || (failed && graph.max_consecutive_failed_dag_runs().is_some())
        {
            matters.push(run);
        }
    }
    if !matters.is_empty() {
        rechecks::insert(conn, &matters).await?;
    }
    Ok(matters.len())
}
