//! Clear: task instances go back to the beginning. Airflow's `clearTaskInstances` (`airflow.md` 5.5).

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{
    By, Refused,
    choose::{Choice, Held, OnVersion, Onto, RunChoice, choose, tell_next_run},
    write_down,
};
use crate::{
    engine::{Freed, Graphs, move_on},
    ids::{InstanceKey, Node},
    state::{RunState, TaskState},
    store::{
        nodes, notifications,
        overrides::{self, Chosen},
        run_states, xcom,
    },
};

/// What is to be cleared.
#[derive(Clone, Debug)]
pub struct Clear {
    /// The task instances.
    pub choice: Choice,
    /// Which of them.
    pub only: Only,
    /// Whether runs that have ended are started again.
    pub reset_dag_runs: bool,
    /// The version under which the runs go on in which something is cleared.
    pub version: OnVersion,
    /// What becomes of those that run.
    pub running: Running,
}

impl Clear {
    /// Everything that was chosen, with Airflow's defaults for the rest.
    #[must_use]
    pub fn of(choice: Choice) -> Self {
        let (version, running) = (OnVersion::default(), Running::default());
        Self { choice, only: Only::All, reset_dag_runs: true, version, running }
    }

    async fn choose(&self, tx: &mut PgConnection, graphs: &Graphs) -> Result<Vec<Held>, Refused> {
        let takes = |state| self.only.takes(state);
        let onto = match self.version {
            OnVersion::Own => Onto::Own,
            OnVersion::Latest => Onto::Latest(&takes),
        };
        choose(tx, graphs, &self.choice, onto).await
    }
}

/// What a clear does with a task that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Running {
    /// It is stopped, and tried again.
    #[default]
    Restart,
    /// It refuses the clear: Airflow's `prevent_running_task`.
    Refuse,
}

/// Which of the chosen task instances a clear takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Only {
    /// All of them.
    #[default]
    All,
    /// What failed, itself or by its upstream: Airflow's `only_failed`.
    Failed,
    /// What is running: Airflow's `only_running`.
    Running,
}

impl Only {
    fn takes(self, state: TaskState) -> bool {
        match self {
            Self::All => true,
            Self::Failed => state.is_failure(),
            Self::Running => matches!(state, TaskState::Running | TaskState::Restarting),
        }
    }
}

fn runs_on(instance: &Chosen) -> bool {
    Only::Running.takes(instance.state)
}

/// What a clear would do, without doing it: its `dry_run`.
///
/// # Errors
/// [`Refused`].
pub async fn preview_clear(conn: &mut PgConnection, graphs: &Graphs, clear: &Clear) -> Result<Vec<Chosen>, Refused> {
    let mut tx = conn.begin().await?;
    let held = clear.choose(&mut tx, graphs).await?;
    tx.rollback().await?;
    Ok(held.into_iter().flat_map(|held| taken(&held.with_setups(), clear.only)).collect())
}

/// Takes task instances back to the beginning: what is running is stopped and tried again, runs that have ended are
/// queued anew. All of it or nothing. Returns what was cleared.
///
/// # Errors
/// [`Refused`].
pub async fn clear(conn: &mut PgConnection, graphs: &Graphs, clear: &Clear, by: &By) -> Result<Vec<Chosen>, Refused> {
    let mut tx = conn.begin().await?;
    let (mut cleared, mut freed, mut runs) = (Vec::new(), Freed::default(), Vec::new());
    for held in clear.choose(&mut tx, graphs).await? {
        let mut held = held.with_setups();
        let taken = taken(&held, clear.only);
        if taken.is_empty() {
            runs.extend(held.is_moved.then_some(held.run));
            continue;
        }
        if let Some(runs) = taken.iter().find(|instance| clear.running == Running::Refuse && runs_on(instance)) {
            return Err(Refused::Running(runs.task_id.clone(), runs.run_id.clone()));
        }
        reset(&mut tx, &held, &taken).await?;
        if clear.reset_dag_runs {
            requeue(&mut tx, &mut held).await?;
        }
        // What runs keeps its slots until its worker has stopped it.
        freed.merge(Freed::by(&held.graph, taken.iter().filter(|instance| !runs_on(instance))));
        tell_next_run(&mut tx, &held).await?;
        runs.push(held.run);
        cleared.extend(taken);
    }
    move_on(&mut tx, graphs, &runs, freed).await?;
    let tasks: Vec<_> = cleared.iter().map(|instance| [instance.run_id.as_str(), instance.task_id.as_str()]).collect();
    let run = match &clear.choice.runs {
        RunChoice::Around { run_id, .. } => Some(run_id),
        RunChoice::Between { .. } => None,
    };
    let extra = json!({ "cleared": tasks });
    write_down(&mut tx, "clear_task_instances", &clear.choice.dag_id, run, by, extra).await?;
    tx.commit().await?;
    Ok(cleared)
}

fn taken(held: &Held, only: Only) -> Vec<Chosen> {
    held.chosen().filter(|instance| only.takes(instance.state)).cloned().collect()
}

/// Writes the states of a clear, and counts the run anew.
pub(super) async fn reset(tx: &mut PgConnection, held: &Held, taken: &[Chosen]) -> Result<(), Refused> {
    let keys: Vec<InstanceKey> = taken.iter().map(|instance| instance.instance).collect();
    let retries = |node: Node| held.graph.task(node).map_or(0, |task| task.retry.retries);
    let retries: Vec<_> =
        taken.iter().map(|instance| i32::try_from(retries(instance.node)).unwrap_or(i32::MAX)).collect();
    let instances: Vec<_> = taken.iter().map(|instance| (instance.node, instance.map_index)).collect();
    overrides::clear(tx, &keys, &retries).await?;
    if !keys.is_empty() {
        run_states::mark_as(tx, held.run.run_key, None).await?;
    }
    xcom::delete(tx, &keys).await?;
    nodes::forget_skips(tx, held.run.run_key, &instances).await?;
    nodes::recount(tx, held.run.run_key, held.graph.edges()).await?;
    Ok(())
}

/// Starts a run again that has ended.
pub(super) async fn requeue(tx: &mut PgConnection, held: &mut Held) -> sqlx::Result<()> {
    if run_states::requeue_if_finished(tx, held.run.run_key, held.run.now).await? {
        held.run.state = RunState::Queued;
        // It is queued anew; the date that it stands for is the same.
        let due =
            (0..).zip(held.graph.deadlines()).map(|(ordinal, it)| Some((ordinal, it.due_at(held.run.now, None)?)));
        let deadlines: Vec<_> = due.flatten().collect();
        if !deadlines.is_empty() {
            notifications::move_deadlines(tx, held.run.run_key, &deadlines).await?;
        }
    }
    Ok(())
}
