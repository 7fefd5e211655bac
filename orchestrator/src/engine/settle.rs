//! The end of attempts, in one transaction: record, count, decide, finish, claim. A chain advances at one commit per
//! hop, and under load many hops share a commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::{
    abilities::Abilities,
    admit::{Agenda, Lines, admit},
    callbacks,
    expand::{Expanded, expand},
    gate::{Freed, Gate},
    graphs::Graphs,
    hop::hops,
    look_back::hold_back,
    outcome::Outcome,
};
use crate::{
    dag::{Edge, Graph},
    ids::{InstanceKey, Node, ProcessId, RunKey, VersionId},
    readiness::{Decision, Setups, decide},
    state::{RunState, TaskState},
    store::{
        admission::Place,
        due::{self, Due},
        instances::{self, Claim},
        nodes,
        outcomes::{self, Ended, Onward, Recorded, RunCounts},
        overrides, rechecks,
        run_locks::{self, LockedRun},
        run_states, runs, signals,
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

/// Who claims after a settle.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The worker.
    pub worker: ProcessId,
    /// What it can run.
    pub abilities: &'a Abilities,
    /// The worker queues that it serves.
    pub queues: &'a [String],
    /// Its free slots.
    pub free: i64,
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
    let runs = Runs { graphs: load(&mut tx, graphs, &held).await?, held };
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
    let changed: BTreeSet<_> = recorded.runs.iter().map(|counts| counts.run_key).collect();
    settled.rechecks = write_rechecks(&mut tx, &runs, &changed, &settled.finished).await? + waiting as usize;
    hold_back(&mut tx, &runs, &mut agenda.ready).await?;
    let queued = admit(&mut tx, &runs, agenda).await?;
    settled.queued = recorded.begun.len() as u64 + queued as u64;
    settled.claims = claim_more(&mut tx, graphs, recorded.begun, queued, claimant).await?;
    tx.commit().await?;
    Ok(settled)
}

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
    let held: HashMap<_, _> = running.map(|run| (run.run_key, run.version)).collect();
    let runs = Runs { graphs: load(conn, graphs, &held).await?, held };
    let mut settled = Settled::default();
    let (mut agenda, mut drained) = (Agenda { freed, ..Agenda::default() }, BTreeSet::new());
    for run in runs.held.keys() {
        if cascade(conn, &runs, *run, &mut agenda).await? == 0 {
            drained.insert(*run);
        }
    }
    settled.finished = finish(conn, &runs, &drained).await?;
    settled.rechecks = write_rechecks(conn, &runs, &agenda.skipped_in, &settled.finished).await?;
    hold_back(conn, &runs, &mut agenda.ready).await?;
    for run in runs.held.keys() {
        agenda.runs.insert(*run, runs::counts(conn, *run).await?);
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
    let held = HashMap::from([(run.run_key, run.version)]);
    let runs = Runs { graphs: load(conn, graphs, &held).await?, held };
    let mut agenda = Agenda { freed, ..Agenda::default() };
    // It owed nothing to the run before when it began, and a clear there does not take that back.
    let place = |due: &Due| Place { run_key: run.run_key, node: due.node, map_index: due.map_index };
    agenda.ready.extend(due.iter().map(place));
    agenda.runs.insert(run.run_key, runs::counts(conn, run.run_key).await?);
    admit(conn, &runs, agenda).await?;
    Ok(due.len())
}

/// The runs that the transaction holds, and the graphs that they are under.
pub(super) struct Runs {
    held: HashMap<RunKey, VersionId>,
    graphs: BTreeMap<VersionId, std::sync::Arc<Graph>>,
}

impl Runs {
    pub(super) fn graph(&self, run: RunKey) -> anyhow::Result<&Graph> {
        let graph = self.held.get(&run).and_then(|version| self.graphs.get(version));
        graph.map(AsRef::as_ref).ok_or_else(|| anyhow::anyhow!("the run {run} is not held"))
    }
}

/// Begins the transaction, and locks the runs of the outcomes: one waiting, of several those that nobody else holds.
async fn hold<'c>(
    conn: &'c mut PgConnection,
    outcomes: &[Outcome],
) -> sqlx::Result<(Transaction<'c, Postgres>, HashMap<RunKey, VersionId>)> {
    let versions: BTreeMap<_, _> = outcomes.iter().map(|outcome| (outcome.run_key, outcome.version)).collect();
    if versions.len() == 1
        && let Some((run, version)) = versions.first_key_value()
    {
        return Ok((run_locks::begin_holding(conn, *run).await?, HashMap::from([(*run, *version)])));
    }
    let mut tx = conn.begin().await?;
    let keys: Vec<_> = versions.keys().map(|run| run.0).collect();
    let held = run_locks::lock_idle(&mut tx, &keys).await?.into_iter().map(|run| (run.run_key, run.version)).collect();
    Ok((tx, held))
}

async fn load(
    conn: &mut PgConnection,
    graphs: &Graphs,
    held: &HashMap<RunKey, VersionId>,
) -> anyhow::Result<BTreeMap<VersionId, std::sync::Arc<Graph>>> {
    let mut loaded = BTreeMap::new();
    for version in held.values() {
        if let std::collections::btree_map::Entry::Vacant(empty) = loaded.entry(*version) {
            empty.insert(graphs.get(conn, *version).await?);
        }
    }
    Ok(loaded)
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

/// Whether the counts of a node (of a lane of it) decide alone: it looks at nothing else, and has its instances. What comes
/// directly after what it is mapped over waits for that, whatever its rule.
fn decides_by_counts(graph: &Graph, node: Node, map_index: i32) -> bool {
    !graph.looks_beyond(node) && (graph.mapped(node).is_none() || map_index >= 0) && !graph.comes_after_source(node)
}

/// Decides every waiting node of a run and what follows; returns how many of its task instances are unfinished.
async fn cascade(conn: &mut PgConnection, runs: &Runs, run: RunKey, agenda: &mut Agenda) -> anyhow::Result<i32> {
    let graph = runs.graph(run)?;
    let Expanded { steps, resized } = expand(conn, graph, run).await?;
    if let Some(freed) = resized {
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

async fn finish(
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
async fn write_rechecks(
    conn: &mut PgConnection,
    runs: &Runs,
    changed: &BTreeSet<RunKey>,
    finished: &[(RunKey, RunState)],
) -> anyhow::Result<usize> {
    let mut matters = Vec::new();
    for run in runs.held.keys() {
        let graph = runs.graph(*run)?;
        let failed = finished.contains(&(*run, RunState::Failed));
        if (graph.looks_back() && changed.contains(run))
            || (failed && graph.max_consecutive_failed_dag_runs().is_some())
        {
            matters.push(*run);
        }
    }
    if !matters.is_empty() {
        rechecks::insert(conn, &matters).await?;
    }
    Ok(matters.len())
}

/// Claims what is queued, but for tasks that the claimant's binary does not have, or whose graph it cannot read: those go
/// back before anybody sees it.
async fn claim_known(conn: &mut PgConnection, graphs: &Graphs, claimant: Claimant<'_>) -> anyhow::Result<Vec<Claim>> {
    let mut known: Vec<Claim> = Vec::new();
    loop {
        let free = claimant.free - known.len() as i64;
        let claimed = instances::claim(conn, Claimant { free, ..claimant }).await?;
        let mut is_strange = false;
        for claim in claimed {
            if !claimant.abilities.can_run(&claim.dag_id, &claim.task_id) {
                claimant.abilities.leave_task(&claim.dag_id, &claim.task_id);
            } else if !graphs.can_read(conn, claim.version).await? {
                claimant.abilities.leave_version(&claim.dag_id, claim.version);
            } else {
                // Its graph is known now: whoever runs it needs no database to begin.
                known.push(claim);
                continue;
            }
            is_strange = true;
            instances::hand_back_if_current(conn, claim.instance, claim.attempt).await?;
        }
        if !is_strange {
            return Ok(known);
        }
    }
}

/// Claims what else there is. What has begun at once was all there was, unless something was queued beside it.
async fn claim_more(
    conn: &mut PgConnection,
    graphs: &Graphs,
    mut claims: Vec<Claim>,
    queued: i64,
    claimant: Option<Claimant<'_>>,
) -> anyhow::Result<Vec<Claim>> {
    let Some(claimant) = claimant else { return Ok(Vec::new()) };
    let free = claimant.free - claims.len() as i64;
    if free > 0 && (claims.is_empty() || queued > 0) {
        claims.extend(claim_known(conn, graphs, Claimant { free, ..claimant }).await?);
    }
    Ok(claims)
}
