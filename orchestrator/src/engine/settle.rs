//! The end of attempts, in one transaction: record, count, decide, finish, claim. A chain advances at one commit per
//! hop, and under load many hops share a commit.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;

use super::{
    admit::{Agenda, Lines, admit},
    callbacks,
    claim::{Claimant, claim_more},
    gate::{Freed, Gate},
    graphs::Graphs,
    held::{Runs, hold},
    hop::hops,
    look_back::{hold_back, is_owed},
    move_on::{cascade, decides_by_counts, finish, write_rechecks},
    outcome::Outcome,
};
use crate::{
    dag::{Edge, Graph},
    ids::{InstanceKey, Node, RunKey},
    readiness::{Decision, Setups, decide},
    state::{RunState, TaskState},
    store::{
        admission::Place,
        instances::Claim,
        nodes,
        outcomes::{self, Ended, Onward, Recorded, RunCounts},
        overrides, runs, signals,
        xcom::{self, Kept},
    },
};

/// What a settle did.
#[derive(Debug, Default)]
pub struct Settled {
    /// Task instances for this worker to run now.
    pub claims: Vec<Claim>,
    /// Outcomes whose run somebody else holds: settle each alone.
    pub busy: Vec<Outcome>,
    /// Attempts that were not current any more.
    pub stale: Vec<Outcome>,
    /// Attempts that another try, or another look, follows.
    pub retries: usize,
    /// Runs in which something happened that matters to others, and DAGs for which an asset was updated.
    pub rechecks: usize,
    /// Runs that ended.
    pub finished: Vec<(RunKey, RunState)>,
    /// How many task instances became claimable; those that were not claimed here are for others.
    pub queued: u64,
}

/// Ends the attempts of a batch, lets what follows from them run, and claims for this worker.
///
/// Runs that are held by somebody else are left out and come back as `busy`, unless the batch is about one run only:
/// then it waits, for it holds nothing else.
///
/// # Errors
/// The database is down, or an outcome cannot be written; then nothing of the batch has happened.
pub async fn settle(
    conn: &mut PgConnection,
    graphs: &Graphs,
    outcomes: Vec<Outcome>,
    claimant: Option<Claimant<'_>>,
) -> anyhow::Result<Settled> {
    let mut settled = Settled::default();
    if outcomes.is_empty() {
        settled.claims = claim_more(conn, graphs, Vec::new(), 0, claimant).await?;
        return Ok(settled);
    }
    let (mut tx, held) = hold(conn, &outcomes).await?;
    let (mine, busy): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|outcome| held.contains_key(&outcome.run_key));
    settled.busy = busy;
    let runs = Runs::load(&mut tx, graphs, held).await?;
    signals::hold(&mut tx, mine.iter().filter_map(|outcome| outcome.ending.signal())).await?;
    let recorded = record(&mut tx, &runs, &mine, claimant).await?;
    keep_results(&mut tx, &mine, &recorded).await?;
    callbacks::about_tasks(&mut tx, &runs, &mine, &recorded).await?;
    let waiting = callbacks::about_assets(&mut tx, &runs, &recorded).await?;
    let mut agenda = agenda(&runs, &recorded)?;
    let mut cascades = overrule(&mut tx, &runs, &mine, &recorded, &mut agenda).await?;
    settled.stale = stale(mine, &recorded);
    let is_to_repeat = |ended: &&Ended| {
        matches!(ended.state, TaskState::UpForRetry | TaskState::UpForReschedule | TaskState::Deferred)
    };
    settled.retries = recorded.ended.iter().filter(is_to_repeat).count();
    agenda.ready = ready(&runs, &recorded, &mut cascades)?;
    let is_drained = |counts: &&RunCounts| counts.unfinished == 0;
    let mut drained: BTreeSet<_> = recorded.runs.iter().filter(is_drained).map(|counts| counts.run_key).collect();
    let is_running =
        |run: &RunKey| recorded.runs.iter().any(|counts| counts.run_key == *run && counts.state == RunState::Running);
    for run in cascades.into_iter().filter(is_running) {
        if cascade(&mut tx, &runs, run, &mut agenda).await? == 0 {
            drained.insert(run);
        }
    }
    settled.finished = finish(&mut tx, &runs, &drained).await?;
    let changed = owed(&runs, &recorded)?.union(&agenda.skipped_in).copied().collect();
    settled.rechecks = write_rechecks(&mut tx, &runs, &changed, &settled.finished).await? + waiting as usize;
    hold_back(&mut tx, &runs, &mut agenda.ready).await?;
    let queued = admit(&mut tx, &runs, agenda).await?;
    settled.queued = recorded.begun.len() as u64 + queued as u64;
    settled.claims = claim_more(&mut tx, graphs, recorded.begun, queued, claimant).await?;
    tx.commit().await?;
    Ok(settled)
}

async fn record(
    conn: &mut PgConnection,
    runs: &Runs,
    outcomes: &[Outcome],
    claimant: Option<Claimant<'_>>,
) -> anyhow::Result<Recorded> {
    let hops = hops(runs, outcomes, claimant)?;
    let mut edges: Vec<(InstanceKey, Edge)> = Vec::new();
    let mut gates = BTreeSet::new();
    for outcome in outcomes {
        let graph = runs.graph(outcome.run_key)?;
        let downstream = graph.downstream(outcome.node);
        edges.extend(downstream.iter().map(|next| (outcome.instance, graph.edge(outcome.node, *next))));
        for task in downstream.iter().chain([&outcome.node]).filter_map(|node| graph.task(*node)) {
            gates.extend(Gate::task(graph.dag_id(), task));
            gates.insert(Gate::pool(&task.pool));
        }
    }
    let (outcomes, gates): (Vec<_>, Vec<_>) = (outcomes.iter().collect(), gates.into_iter().collect());
    let onward = claimant.map(|claimant| Onward { hops: &hops, claimant });
    Ok(outcomes::record_if_current(conn, &outcomes, &edges, &gates, onward).await?)
}

async fn keep_results(conn: &mut PgConnection, outcomes: &[Outcome], recorded: &Recorded) -> sqlx::Result<()> {
    let succeeded = |instance: InstanceKey| {
        recorded.ended.iter().any(|ended| ended.instance_key == instance && ended.state == TaskState::Success)
    };
    let results = outcomes.iter().filter_map(|outcome| Some((outcome.instance, outcome.ending.result()?)));
    let kept = results.filter(|(instance, _)| succeeded(*instance));
    let kept: Vec<_> = kept.map(|(instance, result)| Kept { instance, result }).collect();
    if kept.is_empty() { Ok(()) } else { xcom::keep(conn, &kept).await }
}

/// What the ended attempts leave to be handed on.
fn agenda(runs: &Runs, recorded: &Recorded) -> anyhow::Result<Agenda> {
    let (standing, overdrawn) = (recorded.lines.iter().cloned(), recorded.overdrawn.iter().cloned());
    let lines = Lines { standing: standing.collect(), overdrawn: overdrawn.collect() };
    let mut agenda = Agenda { lines: Some(lines), ..Agenda::default() };
    // What has begun took over what the one before it gave back.
    let is_open = |run: RunKey| recorded.begun.iter().all(|claim| claim.run_key != run);
    let open = recorded.runs.iter().filter(|counts| is_open(counts.run_key));
    agenda.runs = open.map(|counts| (counts.run_key, *counts)).collect();
    for ended in recorded.ended.iter().filter(|ended| is_open(ended.run_key)) {
        let graph = runs.graph(ended.run_key)?;
        match graph.task(ended.node) {
            Some(task) if ended.keeps_slots => agenda.freed.add_task(graph, task),
            Some(task) => agenda.freed.add(graph, task),
            None => {}
        }
        *agenda.ended.entry(ended.run_key).or_default() += 1;
    }
    Ok(agenda)
}

fn stale(outcomes: Vec<Outcome>, recorded: &Recorded) -> Vec<Outcome> {
    let ended: std::collections::HashSet<_> = recorded.ended.iter().map(|ended| ended.instance_key).collect();
    outcomes.into_iter().filter(|outcome| !ended.contains(&outcome.instance)).collect()
}

/// The runs in which something ended well for which a task of the next one may wait.
fn owed(runs: &Runs, recorded: &Recorded) -> anyhow::Result<BTreeSet<RunKey>> {
    let mut owed = BTreeSet::new();
    for ended in recorded.ended.iter().filter(|ended| matches!(ended.state, TaskState::Success | TaskState::Skipped)) {
        if is_owed(runs.graph(ended.run_key)?, ended.node) {
            owed.insert(ended.run_key);
        }
    }
    Ok(owed)
}

/// What decides over trigger rules: the choices of branches, and the first failure of a run that is to fail fast.
/// Returns the runs that must be decided as a whole.
async fn overrule(
    conn: &mut PgConnection,
    runs: &Runs,
    outcomes: &[Outcome],
    recorded: &Recorded,
    agenda: &mut Agenda,
) -> anyhow::Result<BTreeSet<RunKey>> {
    let mut cascades = BTreeSet::new();
    let ended: HashMap<_, _> = recorded.ended.iter().map(|ended| (ended.instance_key, ended.state)).collect();
    for outcome in outcomes {
        let ended = ended.get(&outcome.instance);
        if ended == Some(&TaskState::Success) && !outcome.skips.is_empty() {
            nodes::keep_skips(conn, outcome.run_key, outcome.node, outcome.map_index, &outcome.skips).await?;
            cascades.insert(outcome.run_key);
        }
        let graph = runs.graph(outcome.run_key)?;
        if ended == Some(&TaskState::Failed) && graph.fail_fast() && !graph.is_teardown(outcome.node) {
            agenda.freed.merge(stop_the_rest(conn, graph, outcome).await?);
            // Counted anew, without those that have just ended.
            agenda.runs.insert(outcome.run_key, runs::counts(conn, outcome.run_key).await?);
            agenda.ended.remove(&outcome.run_key);
            cascades.insert(outcome.run_key);
        }
    }
    Ok(cascades)
}

/// Airflow's `fail_fast`: what runs has failed, what waits is skipped; teardowns still run.
async fn stop_the_rest(conn: &mut PgConnection, graph: &Graph, failed: &Outcome) -> anyhow::Result<Freed> {
    let mut rest = overrides::lock_of_run(conn, failed.run_key).await?;
    rest.retain(|instance| !graph.is_teardown(instance.node) && !instance.state.is_finished());
    let cause = "another task of this run failed, and the dag is to fail fast";
    overrides::force(conn, &overrides::failed_fast(&rest), cause).await?;
    nodes::recount(conn, failed.run_key, graph.edges()).await?;
    Ok(Freed::by(graph, &rest))
}

/// The nodes that may run now. A run in which something will never run, or in which more than counts decide, joins
/// `cascades`.
fn ready(runs: &Runs, recorded: &Recorded, cascades: &mut BTreeSet<RunKey>) -> anyhow::Result<Vec<Place>> {
    let mut ready = Vec::new();
    for ended in &recorded.ended {
        let graph = runs.graph(ended.run_key)?;
        // What waits for it may come long after it; what it is mapped over decides over a task before its rule does, and
        // makes a group.
        let waits = |next: Node| recorded.counted.iter().any(|row| (row.run_key, row.node) == (ended.run_key, next));
        let is_awaited = graph.is_awaited_afar(ended.node, waits);
        let failed_source = graph.is_source(ended.node) && ended.state != TaskState::Success;
        if is_awaited || failed_source || graph.is_source_of_group(ended.node) {
            cascades.insert(ended.run_key);
        }
    }
    for counted in &recorded.counted {
        // A run that was cleared and waits for its turn is decided when it starts.
        let is_running = |run: &RunCounts| run.run_key == counted.run_key && run.state == RunState::Running;
        if !recorded.runs.iter().any(is_running) {
            continue;
        }
        let graph = runs.graph(counted.run_key)?;
        let Some(task) = graph.task(counted.node) else { continue };
        let decision = decide(task.trigger_rule, counted.counts(), Setups::default());
        if decision == Decision::Run && decides_by_counts(graph, counted.node, counted.lane) {
            ready.push(Place { run_key: counted.run_key, node: counted.node, map_index: counted.lane });
        } else if decision != Decision::Wait {
            cascades.insert(counted.run_key);
        }
    }
    let has_begun =
        |place: &Place| recorded.begun.iter().any(|claim| (claim.run_key, claim.node) == (place.run_key, place.node));
    ready.retain(|place| !cascades.contains(&place.run_key) && !has_begun(place));
    Ok(ready)
}
