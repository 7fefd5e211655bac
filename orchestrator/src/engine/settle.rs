//! The end of attempts, in one transaction: record, count, decide, finish, claim. A chain advances at one commit per
//! hop, and under load many hops share a commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{Connection, PgConnection};

use super::{advance::advance, graphs::Graphs, outcome::Outcome};
use crate::{
    dag::Graph,
    ids::{InstanceKey, Node, ProcessId, RunKey, VersionId},
    readiness::{Decision, Setups, decide},
    state::{RunState, TaskState},
    store::{
        instances::{self, Claim, Recorded},
        nodes, overrides,
        runs::{self, LockedRun},
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
    /// Attempts that another try follows.
    pub retries: usize,
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
    /// The DAGs that it knows.
    pub dags: &'a [String],
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
        if let Some(claimant) = claimant {
            settled.claims = claim(conn, graphs, claimant).await?;
        }
        return Ok(settled);
    }
    let mut tx = conn.begin().await?;
    let held = lock(&mut tx, &outcomes).await?;
    let (mine, busy): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|outcome| held.contains_key(&outcome.run_key));
    settled.busy = busy;
    let runs = Runs { graphs: load(&mut tx, graphs, &held).await?, held };
    let recorded = record(&mut tx, &runs, &mine).await?;
    let mut cascades = overrule(&mut tx, &runs, &mine, &recorded).await?;
    settled.stale = stale(mine, &recorded);
    settled.retries = recorded.ended.iter().filter(|ended| ended.state == TaskState::UpForRetry).count();
    queue_ready(&mut tx, &runs, &recorded, &mut cascades, &mut settled).await?;
    let mut drained = recorded.drained;
    for run in cascades {
        if cascade(&mut tx, &runs, run, &mut settled).await? == 0 {
            drained.push(run);
        }
    }
    finish(&mut tx, &runs, &drained, &mut settled).await?;
    if let Some(claimant) = claimant {
        settled.claims = claim(&mut tx, graphs, claimant).await?;
    }
    tx.commit().await?;
    Ok(settled)
}

/// Decides a whole run anew, under its lock: after its start, a clear, or anything else that wrote states. Says how
/// many task instances became claimable and whether the run ended.
///
/// # Errors
/// The database is down.
pub async fn move_on(conn: &mut PgConnection, graphs: &Graphs, run: LockedRun) -> anyhow::Result<Settled> {
    let held = HashMap::from([(run.run_key, run)]);
    let runs = Runs { graphs: load(conn, graphs, &held).await?, held };
    let mut settled = Settled::default();
    if cascade(conn, &runs, run.run_key, &mut settled).await? == 0 {
        finish(conn, &runs, &[run.run_key], &mut settled).await?;
    }
    Ok(settled)
}

/// The runs that the transaction holds, and the graphs that they are under.
struct Runs {
    held: HashMap<RunKey, LockedRun>,
    graphs: BTreeMap<VersionId, std::sync::Arc<Graph>>,
}

impl Runs {
    fn graph(&self, run: RunKey) -> anyhow::Result<&Graph> {
        let graph = self.held.get(&run).and_then(|held| self.graphs.get(&held.version));
        graph.map(AsRef::as_ref).ok_or_else(|| anyhow::anyhow!("the run {run} is not held"))
    }
}

async fn lock(conn: &mut PgConnection, outcomes: &[Outcome]) -> sqlx::Result<HashMap<RunKey, LockedRun>> {
    let mut keys: Vec<_> = outcomes.iter().map(|outcome| outcome.run_key.0).collect();
    keys.sort_unstable();
    keys.dedup();
    let locked = match keys.as_slice() {
        [only] => runs::lock_waiting(conn, RunKey(*only)).await?.into_iter().collect(),
        several => runs::lock_idle(conn, several).await?,
    };
    Ok(locked.into_iter().map(|run| (run.run_key, run)).collect())
}

async fn load(
    conn: &mut PgConnection,
    graphs: &Graphs,
    held: &HashMap<RunKey, LockedRun>,
) -> anyhow::Result<BTreeMap<VersionId, std::sync::Arc<Graph>>> {
    let mut loaded = BTreeMap::new();
    for run in held.values() {
        if let std::collections::btree_map::Entry::Vacant(empty) = loaded.entry(run.version) {
            empty.insert(graphs.get(conn, run.version).await?);
        }
    }
    Ok(loaded)
}

async fn record(conn: &mut PgConnection, runs: &Runs, outcomes: &[Outcome]) -> anyhow::Result<Recorded> {
    let mut edges: Vec<(InstanceKey, Node)> = Vec::new();
    for outcome in outcomes {
        let downstream = runs.graph(outcome.run_key)?.downstream(outcome.node);
        edges.extend(downstream.iter().map(|next| (outcome.instance, *next)));
    }
    let outcomes: Vec<_> = outcomes.iter().collect();
    Ok(instances::record_if_current(conn, &outcomes, &edges).await?)
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
) -> anyhow::Result<BTreeSet<RunKey>> {
    let mut cascades = BTreeSet::new();
    let ended: HashMap<_, _> = recorded.ended.iter().map(|ended| (ended.instance_key, ended.state)).collect();
    for outcome in outcomes {
        let ended = ended.get(&outcome.instance);
        if ended == Some(&TaskState::Success) && !outcome.skips.is_empty() {
            nodes::keep_skips(conn, outcome.run_key, outcome.node, &outcome.skips).await?;
            cascades.insert(outcome.run_key);
        }
        let graph = runs.graph(outcome.run_key)?;
        if ended == Some(&TaskState::Failed) && graph.fail_fast() && !graph.is_teardown(outcome.node) {
            stop_the_rest(conn, graph, outcome).await?;
            cascades.insert(outcome.run_key);
        }
    }
    Ok(cascades)
}

/// Airflow's `fail_fast`: what runs has failed, what waits is skipped; teardowns still run.
async fn stop_the_rest(conn: &mut PgConnection, graph: &Graph, failed: &Outcome) -> anyhow::Result<()> {
    let mut rest = overrides::lock_of_run(conn, failed.run_key).await?;
    rest.retain(|instance| !graph.is_teardown(instance.node));
    let cause = "another task of this run failed, and the dag is to fail fast";
    overrides::force(conn, &overrides::stopped(&rest), cause).await?;
    nodes::recount(conn, failed.run_key, graph.edges()).await?;
    Ok(())
}

/// Queues the nodes that may run now. A run in which something will never run, or in which more than counts decide,
/// joins `cascades`.
async fn queue_ready(
    conn: &mut PgConnection,
    runs: &Runs,
    recorded: &Recorded,
    cascades: &mut BTreeSet<RunKey>,
    settled: &mut Settled,
) -> anyhow::Result<()> {
    let mut ready = Vec::new();
    for counted in &recorded.counted {
        // A run that was cleared and waits for its turn is decided when it starts.
        if runs.held.get(&counted.run_key).is_none_or(|run| run.state != RunState::Running) {
            continue;
        }
        let graph = runs.graph(counted.run_key)?;
        let Some(task) = graph.task(counted.node) else { continue };
        if !graph.setups(counted.node).is_empty() {
            cascades.insert(counted.run_key);
            continue;
        }
        match decide(task.trigger_rule, counted.counts(), Setups::default()) {
            Decision::Wait => {}
            Decision::Run => ready.push((counted.run_key, counted.node)),
            Decision::Skip | Decision::UpstreamFailed => {
                cascades.insert(counted.run_key);
            }
        }
    }
    ready.retain(|(run, _)| !cascades.contains(run));
    if !ready.is_empty() {
        settled.queued += instances::queue_if_waiting(conn, &ready).await?;
    }
    Ok(())
}

/// Decides every waiting node of a run and what follows; returns how many of its task instances are unfinished.
async fn cascade(conn: &mut PgConnection, runs: &Runs, run: RunKey, settled: &mut Settled) -> anyhow::Result<i32> {
    let graph = runs.graph(run)?;
    let steps = advance(graph, &nodes::of_run(conn, run).await?);
    let unfinished = instances::end_without_running(conn, run, &steps.ended, graph.edges()).await?;
    if !steps.ready.is_empty() {
        let ready: Vec<_> = steps.ready.into_iter().map(|node| (run, node)).collect();
        settled.queued += instances::queue_if_waiting(conn, &ready).await?;
    }
    Ok(unfinished)
}

async fn finish(conn: &mut PgConnection, runs: &Runs, drained: &[RunKey], settled: &mut Settled) -> anyhow::Result<()> {
    let mut leaves = Vec::new();
    for run in drained {
        leaves.extend(runs.graph(*run)?.leaves().into_iter().map(|leaf| (*run, leaf)));
    }
    if !drained.is_empty() {
        settled.finished.extend(runs::finish(conn, drained, &leaves).await?);
    }
    Ok(())
}

/// Claims, and reads the graphs that the claims are under, so that whoever runs them needs no database to begin.
async fn claim(conn: &mut PgConnection, graphs: &Graphs, claimant: Claimant<'_>) -> anyhow::Result<Vec<Claim>> {
    if claimant.free <= 0 {
        return Ok(Vec::new());
    }
    let claims = instances::claim(conn, claimant.worker, claimant.dags, claimant.free).await?;
    for claim in &claims {
        graphs.get(conn, claim.version).await?;
    }
    Ok(claims)
}
