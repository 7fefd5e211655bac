//! Mark: people say how a task instance or a run ended (`airflow.md` 5.5).

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{
    By, Refused,
    choose::{Choice, Held, Onto, RunChoice, TaskChoice, choose, tell_next_run},
    clear::{requeue, reset},
    write_down,
};
use crate::{
    engine::{Freed, Graphs, move_on},
    ids::{DagId, RunId},
    state::{RunState, TaskState},
    store::{
        nodes,
        overrides::{self, Chosen, Verdict},
        pages::{self, instances::InstanceListed},
        run_states, runs,
    },
};

/// What is to be marked.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The task instances.
    pub choice: Choice,
    /// How they are to have ended.
    pub state: Marked,
}

/// The states that people may give to a task instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marked {
    /// As if it had succeeded.
    Success,
    /// As if it had failed for good.
    Failed,
    /// As if it had decided not to run.
    Skipped,
}

impl Marked {
    /// The state.
    #[must_use]
    pub fn state(self) -> TaskState {
        match self {
            Self::Success => TaskState::Success,
            Self::Failed => TaskState::Failed,
            Self::Skipped => TaskState::Skipped,
        }
    }
}

/// The states that people may give to a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkedRun {
    /// What runs is stopped and has succeeded, what has not ended is skipped: Airflow's `set_dag_run_state_to_success`.
    /// What has ended stays as it is, and teardowns still run.
    Success,
    /// The same, but what runs has failed: Airflow's `set_dag_run_state_to_failed`.
    Failed,
    /// It starts again from the states that it has.
    Queued,
}

/// What a mark would change, without changing it: its `dry_run`.
///
/// # Errors
/// [`Refused`].
pub async fn preview_mark(conn: &mut PgConnection, graphs: &Graphs, mark: &Mark) -> Result<Vec<Chosen>, Refused> {
    let mut tx = conn.begin().await?;
    let held = choose(&mut tx, graphs, &mark.choice, Onto::Own).await?;
    tx.rollback().await?;
    Ok(held.iter().flat_map(|held| to_change(held, mark.state)).collect())
}

/// What a command would do to a task instance.
#[derive(Clone, Debug)]
pub struct Change {
    /// The task instance, as it is.
    pub of: Chosen,
    /// What it would be then; none: it begins again.
    pub then: TaskState,
}

/// Everything that a mark would change: what is marked, and what failed after it and begins again.
///
/// # Errors
/// [`Refused`].
pub async fn foresee_mark(conn: &mut PgConnection, graphs: &Graphs, mark: &Mark) -> Result<Vec<Change>, Refused> {
    let mut tx = conn.begin().await?;
    let held = choose(&mut tx, graphs, &mark.choice, Onto::Own).await?;
    tx.rollback().await?;
    let changes = held.iter().map(|held| (to_change(held, mark.state), held)).filter(|(marked, _)| !marked.is_empty());
    let changes = changes.flat_map(|(marked, held)| {
        let marked = marked.into_iter().map(|of| Change { of, then: mark.state.state() });
        marked.chain(again(held).into_iter().map(|of| Change { of, then: TaskState::None }))
    });
    Ok(changes.collect())
}

/// Everything that a mark of a run would change.
///
/// # Errors
/// [`Refused`].
pub async fn foresee_mark_run(
    conn: &mut PgConnection,
    graphs: &Graphs,
    (dag, run): (&DagId, &RunId),
    state: MarkedRun,
) -> Result<Vec<Change>, Refused> {
    let mut tx = conn.begin().await?;
    let held = choose(&mut tx, graphs, &whole(dag, run), Onto::Own).await?;
    tx.rollback().await?;
    let then = match state {
        MarkedRun::Queued => return Ok(Vec::new()),
        MarkedRun::Success => TaskState::Success,
        MarkedRun::Failed => TaskState::Failed,
    };
    let changes = held.iter().flat_map(|held| {
        let (_, stopped) = unfinished(held);
        let verdicts = overrides::cut_off(&stopped, then);
        stopped.into_iter().zip(verdicts).map(|(of, verdict)| Change { of, then: verdict.state })
    });
    Ok(changes.collect())
}

/// Says how task instances ended. What failed after them is cleared, so that the run goes on from there. Returns what
/// was changed.
///
/// # Errors
/// [`Refused`].
pub async fn mark(conn: &mut PgConnection, graphs: &Graphs, mark: &Mark, by: &By) -> Result<Vec<Chosen>, Refused> {
    let mut tx = conn.begin().await?;
    let (mut changed, mut freed, mut runs) = (Vec::new(), Freed::default(), Vec::new());
    let cause = format!("marked {} ({})", mark.state.state(), by.way.as_str());
    for mut held in choose(&mut tx, graphs, &mark.choice, Onto::Own).await? {
        let to_change = to_change(&held, mark.state);
        if to_change.is_empty() {
            continue;
        }
        let verdict = |chosen: &Chosen| Verdict { instance: chosen.instance, state: mark.state.state() };
        overrides::force(&mut tx, &to_change.iter().map(verdict).collect::<Vec<_>>(), &cause).await?;
        let again = again(&held);
        // Counts the run anew, whether or not there is something to clear.
        reset(&mut tx, &held, &again).await?;
        if !again.is_empty() {
            requeue(&mut tx, &mut held).await?;
        }
        freed.merge(Freed::by(&held.graph, &to_change));
        tell_next_run(&mut tx, &held).await?;
        runs.push(held.run);
        changed.extend(to_change);
    }
    move_on(&mut tx, graphs, &runs, freed).await?;
    let run = match &mark.choice.runs {
        RunChoice::Around { run_id, .. } => Some(run_id),
        RunChoice::Between { .. } => None,
    };
    let tasks: Vec<_> = changed.iter().map(|instance| [instance.run_id.as_str(), instance.task_id.as_str()]).collect();
    let extra = json!({ "new_state": mark.state.state(), "marked": tasks });
    write_down(&mut tx, "mark_task_instances", &mark.choice.dag_id, run, by, extra).await?;
    tx.commit().await?;
    Ok(changed)
}

fn to_change(held: &Held, state: Marked) -> Vec<Chosen> {
    held.chosen().filter(|instance| instance.state != state.state()).cloned().collect()
}

/// What failed after what is marked.
fn again(held: &Held) -> Vec<Chosen> {
    held.after().filter(|instance| instance.state.is_failure()).cloned().collect()
}

fn whole(dag: &DagId, run: &RunId) -> Choice {
    Choice { dag_id: dag.clone(), runs: RunChoice::one(run.clone()), tasks: TaskChoice::default() }
}

/// Says how a run ended, or starts it again.
///
/// # Errors
/// [`Refused`].
pub async fn mark_run(
    conn: &mut PgConnection,
    graphs: &Graphs,
    dag: &DagId,
    run: &RunId,
    state: MarkedRun,
    by: &By,
) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    let cause = format!("the run was marked ({})", by.way.as_str());
    for mut held in choose(&mut tx, graphs, &whole(dag, run), Onto::Own).await? {
        match state {
            MarkedRun::Queued => {
                run_states::mark_as(&mut tx, held.run.run_key, None).await?;
                requeue(&mut tx, &mut held).await?;
            }
            MarkedRun::Success => {
                end(&mut tx, graphs, &held, (RunState::Success, TaskState::Success), &cause).await?;
            }
            MarkedRun::Failed => end(&mut tx, graphs, &held, (RunState::Failed, TaskState::Failed), &cause).await?,
        }
        tell_next_run(&mut tx, &held).await?;
    }
    let word = match state {
        MarkedRun::Success => "success",
        MarkedRun::Failed => "failed",
        MarkedRun::Queued => "queued",
    };
    write_down(&mut tx, "mark_dag_run", dag, Some(run), by, json!({ "new_state": word })).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends a run and what has begun in it so, but for the teardowns: they still run, and the run ends with them.
async fn end(
    tx: &mut PgConnection,
    graphs: &Graphs,
    held: &Held,
    (state, of_tasks): (RunState, TaskState),
    cause: &str,
) -> Result<(), Refused> {
    let (teardowns, stopped) = unfinished(held);
    overrides::force(tx, &overrides::cut_off(&stopped, of_tasks), cause).await?;
    nodes::recount(tx, held.run.run_key, held.graph.edges()).await?;
    let mut run = held.run;
    if teardowns.is_empty() {
        run_states::end(tx, run.run_key, state).await?;
        run.state = state;
    } else {
        run_states::mark_as(tx, run.run_key, Some(state)).await?;
    }
    move_on(tx, graphs, &[run], Freed::by(&held.graph, &stopped)).await?;
    Ok(())
}

/// The teardowns that still run, and what else has not ended. A run that does not run is not torn down: nothing would end
/// it.
fn unfinished(held: &Held) -> (Vec<Chosen>, Vec<Chosen>) {
    let is_running = held.run.state == RunState::Running;
    let unfinished = held.all.iter().filter(|instance| !instance.state.is_finished()).cloned();
    unfinished.partition(|instance| is_running && held.graph.is_teardown(instance.node))
}

/// Writes a remark on task instances, or takes it away.
///
/// # Errors
/// [`Refused`].
pub async fn set_task_note(
    conn: &mut PgConnection,
    instances: &[InstanceListed],
    note: Option<&str>,
    by: &By,
) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    for of in instances {
        pages::instances::set_note(&mut tx, of, note).await?;
        let extra = json!({ "task_id": of.task_id, "map_index": of.map_index, "note": note });
        write_down(&mut tx, "patch_task_instance", &of.dag_id, Some(&of.run_id), by, extra).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Writes a remark on a run, or takes it away.
///
/// # Errors
/// [`Refused`].
pub async fn set_note(
    conn: &mut PgConnection,
    dag: &DagId,
    run: &RunId,
    note: Option<&str>,
    by: &By,
) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    if !runs::set_note(&mut tx, dag, run, note).await? {
        return Err(Refused::NoRun(dag.clone(), run.clone()));
    }
    write_down(&mut tx, "patch_dag_run", dag, Some(run), by, json!({ "note": note })).await?;
    tx.commit().await?;
    Ok(())
}
