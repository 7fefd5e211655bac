//! Admission: of what may run by its rules, what may run now within the limits.
//!
//! What a transaction frees at a gate it hands on without touching the gate's row, where it can: `used` stays as it
//! is. Only what is more, or less, takes the row's lock, and then looks at the line once more, for whoever came while
//! it waited.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use sqlx::PgConnection;

use super::{
    gate::{Freed, Gate},
    held::Runs,
};
use crate::{
    dag::Graph,
    ids::{Node, RunKey},
    store::{
        admission::{self, InLine, Move, Place, RunDelta},
        outcomes::RunCounts,
        slots,
    },
};

/// How far beyond what fits a line is looked at: one that needs many slots must not hide a smaller one behind it.
const LOOK_AHEAD: i64 = 16;

/// What a transaction has decided, for [`admit`] to carry out.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Task instances that may run by their rules.
    pub(super) ready: Vec<Place>,
    /// The runs in which something ended without running.
    pub(super) skipped_in: BTreeSet<RunKey>,
    /// How the runs stand that are held and have something ready or freed, before what this transaction freed.
    pub(super) runs: BTreeMap<RunKey, RunCounts>,
    /// How many task instances of a run have ended.
    pub(super) ended: HashMap<RunKey, i32>,
    /// What they give back.
    pub(super) freed: Freed,
    /// What is known of the gates that matter; none: nothing.
    pub(super) lines: Option<Lines>,
}

/// What is known of gates without having locked them.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Somebody stands in line there.
    pub(super) standing: BTreeSet<Gate>,
    /// More has passed than there are slots: they were made fewer. What is freed there is not handed on.
    pub(super) overdrawn: BTreeSet<Gate>,
}

/// A task instance between gates.
#[derive(Clone, Debug)]
struct Walker {
    place: Place,
    priority: i32,
    task_gate: Option<Gate>,
    pool: Gate,
    pool_slots: i32,
    /// Whether it stood in line before this transaction.
    was_in_line: bool,
}

/// Lets through what fits, and puts the rest in line. Says how many task instances became claimable.
///
/// # Errors
/// The database is down.
pub(super) async fn admit(conn: &mut PgConnection, runs: &Runs, agenda: Agenda) -> anyhow::Result<i64> {
    let Agenda { ready, runs: counts, ended, freed, lines, .. } = agenda;
    let mut walk = Walk { runs, freed, lines, moves: Vec::new(), deltas: Vec::new() };
    let mut walkers = Vec::new();
    for (run, counts) in &counts {
        let ready = ready.iter().filter(|place| place.run_key == *run).copied();
        walkers.extend(walk.through_run(conn, counts, ended.get(run).copied().unwrap_or(0), ready).await?);
    }
    let (pools, tasks): (BTreeSet<_>, BTreeSet<_>) = walk.freed.0.keys().cloned().partition(Gate::is_pool);
    let gates = tasks.into_iter().chain(walkers.iter().filter_map(|walker| walker.task_gate.clone()));
    for gate in gates.collect::<BTreeSet<_>>() {
        let (here, elsewhere) = walkers.into_iter().partition(|walker| walker.task_gate.as_ref() == Some(&gate));
        walkers = elsewhere;
        walkers.extend(walk.through(conn, &gate, here, |_| 1).await?);
    }
    let gates = pools.into_iter().chain(walkers.iter().map(|walker| walker.pool.clone()));
    for gate in gates.collect::<BTreeSet<_>>() {
        let (here, elsewhere) = walkers.into_iter().partition(|walker| walker.pool == gate);
        walkers = elsewhere;
        let passed = walk.through(conn, &gate, here, |walker| walker.pool_slots).await?;
        walk.finish(passed);
    }
    walk.carry_out(conn).await
}

/// The moves as they come together.
struct Walk<'r> {
    runs: &'r Runs,
    freed: Freed,
    lines: Option<Lines>,
    moves: Vec<Move>,
    deltas: Vec<(RunKey, RunDelta)>,
}

impl Walk<'_> {
    /// The gate of a run: `max_active_tasks`, and of its tasks `max_active_tis_per_dagrun`; shut while its DAG is paused.
    async fn through_run(
        &mut self,
        conn: &mut PgConnection,
        counts: &RunCounts,
        ended: i32,
        ready: impl Iterator<Item = Place>,
    ) -> anyhow::Result<Vec<Walker>> {
        let run_key = counts.run_key;
        let graph = self.runs.graph(run_key)?;
        let mut room = match counts.is_paused {
            true => 0,
            false => (graph.max_active_tasks() - (counts.active - ended)).max(0),
        };
        let mut rooms = rooms_of_tasks(conn, run_key, graph).await?;
        let mut walkers = Vec::new();
        if counts.in_line > 0 && room > 0 {
            let line = match rooms.is_empty() {
                true => admission::line_of_run(conn, run_key, i64::from(room)).await?,
                false => admission::line_of_run_within(conn, run_key, i64::from(room), &rooms).await?,
            };
            let walkers_in_line = line.into_iter().filter_map(|waiting| walker(graph, waiting.place));
            walkers.extend(walkers_in_line.map(|walker| Walker { was_in_line: true, ..walker }));
        }
        walkers.extend(ready.filter_map(|place| walker(graph, place)));
        walkers.sort_by_key(|walker| Reverse(walker.priority));
        let (walkers, left): (Vec<_>, Vec<_>) = walkers.into_iter().partition(|walker| {
            let of_task = rooms.get_mut(&walker.place.node);
            let fits = room > 0 && of_task.as_ref().is_none_or(|room| **room > 0);
            if fits {
                room -= 1;
                of_task.into_iter().for_each(|room| *room -= 1);
            }
            fits
        });
        let passed_from_line = walkers.iter().filter(|walker| walker.was_in_line).count() as i32;
        let new_in_line: Vec<_> = left.into_iter().filter(|walker| !walker.was_in_line).collect();
        let delta =
            RunDelta { active: walkers.len() as i32 - ended, in_line: new_in_line.len() as i32 - passed_from_line };
        // Several tickets of one run at once must be remembered, so that the next ones come after them.
        if delta != RunDelta::default() || walkers.len() > 1 {
            self.deltas.push((run_key, delta));
        }
        self.stay(new_in_line, &Gate::run());
        Ok(walkers)
    }

    /// A gate that spans runs.
    async fn through(
        &mut self,
        conn: &mut PgConnection,
        gate: &Gate,
        arrivals: Vec<Walker>,
        weight: impl Fn(&Walker) -> i32,
    ) -> anyhow::Result<Vec<Walker>> {
        let freed = self.freed.0.get(gate).copied().unwrap_or(0);
        if let Some(lines) = self.lines.as_ref().filter(|lines| !lines.overdrawn.contains(gate)) {
            let is_free = !lines.standing.contains(gate);
            if is_free && arrivals.iter().map(&weight).sum::<i32>() == freed {
                return Ok(arrivals);
            }
            if !is_free && freed > 0 {
                let candidates = self.candidates(conn, gate, &arrivals, freed).await?;
                let (passed, left) = choose(candidates, freed, &weight);
                // Whoever would join the line unseen might miss what another transaction frees at this moment.
                let joins = left.iter().any(|walker| arrives(walker, &arrivals));
                if !joins && passed.iter().map(&weight).sum::<i32>() == freed {
                    return Ok(passed);
                }
            }
        }
        let Some(slots) = slots::lock(conn, gate).await? else {
            // A pool that does not exist: Airflow lets its tasks wait, too.
            self.stay(arrivals, gate);
            return Ok(Vec::new());
        };
        let used = (slots.used - freed).max(0);
        let room = if slots.total < 0 { i32::MAX } else { (slots.total - used).max(0) };
        let candidates = self.candidates(conn, gate, &arrivals, room).await?;
        let (passed, mut left) = choose(candidates, room, &weight);
        let used = used + passed.iter().map(&weight).sum::<i32>();
        if used != slots.used {
            slots::set_used(conn, gate, used).await?;
        }
        // The others stand in this line already.
        left.retain(|walker| arrives(walker, &arrivals));
        self.stay(left, gate);
        Ok(passed)
    }

    /// Those that stand in line and those that arrive, the highest priority first, and who waited before who comes.
    async fn candidates(
        &self,
        conn: &mut PgConnection,
        gate: &Gate,
        arrivals: &[Walker],
        room: i32,
    ) -> anyhow::Result<Vec<Walker>> {
        if room == 0 {
            return Ok(arrivals.to_vec());
        }
        // An unlimited gate has no line longer than this transaction can move at once.
        let limit = i64::from(room.min(LINE_MAX)) + LOOK_AHEAD;
        // One that needs more than there is must not hide those behind it.
        let line = admission::line(conn, gate, if gate.is_pool() { room } else { i32::MAX }, limit).await?;
        let mut candidates: Vec<_> = line.into_iter().map(walker_in_line).collect();
        candidates.extend(arrivals.iter().cloned());
        candidates.sort_by_key(|walker| Reverse(walker.priority));
        Ok(candidates)
    }

    fn stay(&mut self, walkers: Vec<Walker>, gate: &Gate) {
        let waits_for = |walker: Walker| Move { place: walker.place, waits_for: Some(gate.clone()) };
        self.moves.extend(walkers.into_iter().map(waits_for));
    }

    async fn carry_out(mut self, conn: &mut PgConnection) -> anyhow::Result<i64> {
        if self.moves.is_empty() && self.deltas.is_empty() {
            return Ok(0);
        }
        // Tickets are given in this order: who got further comes first.
        self.moves.sort_by_key(|to| to.waits_for.as_ref().map_or(0, Gate::distance));
        Ok(admission::advance(conn, &self.moves, &self.deltas).await?)
    }

    fn finish(&mut self, walkers: Vec<Walker>) {
        self.moves.extend(walkers.into_iter().map(|walker| Move { place: walker.place, waits_for: None }));
    }
}

/// How many more instances of the tasks of a run may pass its gate, of those tasks that have a limit there.
async fn rooms_of_tasks(conn: &mut PgConnection, run: RunKey, graph: &Graph) -> sqlx::Result<BTreeMap<Node, i32>> {
    let limits: Vec<_> = graph.limits_per_run().collect();
    if limits.is_empty() {
        return Ok(BTreeMap::new());
    }
    let nodes: Vec<_> = limits.iter().map(|(node, _)| *node).collect();
    let active = admission::active_of_tasks(conn, run, &nodes).await?;
    let room = |(node, limit): &(Node, i32)| (*node, limit - active.get(node).copied().unwrap_or(0));
    Ok(limits.iter().map(room).collect())
}

/// Task instances that one transaction takes from a line.
const LINE_MAX: i32 = 1_024;

/// As many as fit, in their order; one that is too big lets smaller ones pass.
fn choose(candidates: Vec<Walker>, mut room: i32, weight: &impl Fn(&Walker) -> i32) -> (Vec<Walker>, Vec<Walker>) {
    candidates.into_iter().partition(|walker| {
        let fits = weight(walker) <= room;
        if fits {
            room -= weight(walker);
        }
        fits
    })
}

/// Whether it comes to this gate in this transaction. Whoever was in a line before was in one that they have passed.
fn arrives(walker: &Walker, arrivals: &[Walker]) -> bool {
    !walker.was_in_line || arrivals.iter().any(|arrived| arrived.place == walker.place)
}

/// One that stands in line, perhaps of a run that is not held: all that its next gates ask is in its row.
fn walker_in_line(waiting: InLine) -> Walker {
    Walker {
        place: waiting.place,
        priority: waiting.priority,
        task_gate: None,
        pool: Gate::pool(&waiting.pool),
        pool_slots: waiting.pool_slots,
        was_in_line: true,
    }
}

fn walker(graph: &Graph, place: Place) -> Option<Walker> {
    let task = graph.task(place.node)?;
    Some(Walker {
        place,
        priority: graph.priority(place.node),
        task_gate: Gate::task(graph.dag_id(), task),
        pool: Gate::pool(&task.pool),
        pool_slots: task.pool_slots,
        was_in_line: false,
    })
}
