//! The hop of a chain: what comes after an attempt, where it is plain before anything is asked that it may begin at once
//! if all before it succeeded. The statement that records the attempt begins it, too: one round trip less.
//!
//! Everything that is not plain (branches, setups, limits, lines, mapped tasks, other pools) goes the long way, through
//! [`admit`](super::admit).

use std::collections::BTreeMap;

use super::{
    claim::Claimant,
    gate::Gate,
    held::Runs,
    outcome::{Ending, Outcome},
};
use crate::{
    dag::{Graph, Past, TaskSpec},
    ids::{InstanceKey, Node, RunKey},
    readiness::{Counts, Decision, Setups, decide},
};

/// A task that begins with the end of another one.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// Whose end it waits for.
    pub from: InstanceKey,
    /// The task.
    pub to: Node,
    /// How many come before it: all of them must have succeeded.
    pub upstream: i32,
    /// How many tasks of the run may have passed its gate.
    pub max_active_tasks: i32,
}

/// The hops of a batch, if the claimant has a slot for each and nothing else comes after its outcomes: that might be of a
/// higher priority.
pub(super) fn hops(runs: &Runs, outcomes: &[Outcome], claimant: Option<Claimant<'_>>) -> anyhow::Result<Vec<Hop>> {
    let Some(claimant) = claimant else { return Ok(Vec::new()) };
    let mut in_run: BTreeMap<RunKey, usize> = BTreeMap::new();
    for outcome in outcomes {
        *in_run.entry(outcome.run_key).or_default() += 1;
    }
    let mut hops = Vec::new();
    for outcome in outcomes {
        let graph = runs.graph(outcome.run_key)?;
        if graph.downstream(outcome.node).is_empty() {
            continue;
        }
        // Several that end together in one run may meet in what comes after them.
        let is_alone = in_run.get(&outcome.run_key) == Some(&1);
        let Some(hop) = hop(graph, outcome, &claimant).filter(|_| is_alone) else { return Ok(Vec::new()) };
        hops.push(hop);
    }
    let fits = i64::try_from(hops.len()).is_ok_and(|hops| hops <= claimant.free);
    Ok(if fits { hops } else { Vec::new() })
}

fn hop(graph: &Graph, outcome: &Outcome, claimant: &Claimant<'_>) -> Option<Hop> {
    let &[to] = graph.downstream(outcome.node) else { return None };
    let (ended, next) = (graph.task(outcome.node)?, graph.task(to)?);
    let upstream = graph.upstream(to).len() as i32;
    let decides_alone = matches!(outcome.ending, Ending::Success(_))
        && outcome.skips.is_empty()
        && !graph.is_awaited_afar(outcome.node, |next| next == to)
        && !graph.is_source_of_group(outcome.node)
        && !graph.looks_beyond(to)
        && graph.mapped(to).is_none();
    let all_succeeded = Counts { upstream, success: upstream, ..Counts::default() };
    let may_run = decides_alone
        && next.past == Past::Ignored
        && decide(next.trigger_rule, all_succeeded, Setups::default()) == Decision::Run;
    let is_known = claimant.abilities.can_run(graph.dag_id(), &next.task_id) && claimant.queues.contains(&next.queue);
    (may_run && is_known && takes_over(graph, ended, next)).then_some(Hop {
        from: outcome.instance,
        to,
        upstream,
        max_active_tasks: graph.max_active_tasks(),
    })
}

/// Whether what the one gives back is all that the other needs.
fn takes_over(graph: &Graph, ended: &TaskSpec, next: &TaskSpec) -> bool {
    let of_its_task = |task: &TaskSpec| Gate::task(graph.dag_id(), task).is_some();
    ended.pool == next.pool
        && ended.pool_slots == next.pool_slots
        && !of_its_task(ended)
        && !of_its_task(next)
        && graph.limits_per_run().next().is_none()
}
