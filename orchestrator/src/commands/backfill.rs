//! Backfills: runs for slots of the past, as Airflow's `/backfills` makes them.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{
    By, Choice, Clear, OnVersion, Refused, RunChoice, TaskChoice, clear,
    mark::{MarkedRun, mark_run},
    write_down,
};
use crate::{
    engine::{Graphs, Trigger, create_run},
    ids::{BackfillId, DagId, RunId},
    state::{RunState, RunType},
    store::{
        self,
        backfills::{self, BackfillRow, ExistingRun, NewBackfill, Reprocess},
        dags, runs,
    },
};

/// A backfill that somebody asks for.
#[derive(Clone, Debug)]
pub struct Backfill {
    /// The DAG.
    pub dag_id: DagId,
    /// The first date.
    pub from_date: DateTime<Utc>,
    /// The last date.
    pub to_date: DateTime<Utc>,
    /// Whether the latest slots come first.
    pub run_backwards: bool,
    /// The conf of its runs, a JSON object; none: runs that it runs again keep theirs.
    pub conf: Option<Value>,
    /// What becomes of runs that are there already.
    pub reprocess: Reprocess,
    /// Under which version runs that are there already run again; new ones are of the latest.
    pub version: OnVersion,
    /// How many of its runs may be running at once.
    pub max_active_runs: i32,
}

/// Slots of one backfill: all of its runs are made at once.
const SLOTS_MAX: usize = 10_000;

/// A slot of a backfill.
struct Slot {
    date: DateTime<Utc>,
    /// The run that is there already, to run again.
    again: Option<ExistingRun>,
}

/// The logical dates for which a backfill would make runs, or run them again: its dry run.
///
/// # Errors
/// [`Refused`].
pub async fn preview_backfill(
    conn: &mut PgConnection,
    graphs: &Graphs,
    backfill: &Backfill,
) -> Result<Vec<DateTime<Utc>>, Refused> {
    let mut tx = conn.begin().await?;
    let slots = plan(&mut tx, graphs, backfill).await?;
    tx.rollback().await?;
    Ok(slots.into_iter().map(|slot| slot.date).collect())
}

/// Makes a backfill with all of its runs, queued. They start in its order, as many at once as it says, beside the DAG's
/// own `max_active_runs`.
///
/// # Errors
/// [`Refused`].
pub async fn create_backfill(
    conn: &mut PgConnection,
    graphs: &Graphs,
    backfill: &Backfill,
    by: &By,
) -> Result<BackfillId, Refused> {
    let mut tx = conn.begin().await?;
    let slots = plan(&mut tx, graphs, backfill).await?;
    let Backfill { dag_id, from_date, to_date, conf, reprocess, max_active_runs, .. } = backfill;
    let empty = json!({});
    let new = NewBackfill {
        dag_id,
        from_date: *from_date,
        to_date: *to_date,
        conf: conf.as_ref().unwrap_or(&empty),
        reprocess: *reprocess,
        max_active_runs: *max_active_runs,
    };
    let made = backfills::insert_if_alone(&mut tx, &new).await?;
    let id = made.ok_or_else(|| Refused::BackfillExists(dag_id.clone()))?;
    let now = store::now(&mut tx).await?;
    let version = dags::current_version(&mut tx, dag_id).await?.ok_or_else(|| Refused::NoDag(dag_id.clone()))?;
    for (ordinal, slot) in (0..).zip(slots) {
        let run = match slot.again {
            Some(run) => {
                let choice = Choice {
                    dag_id: dag_id.clone(),
                    runs: RunChoice::one(run.run_id.clone()),
                    tasks: TaskChoice::default(),
                };
                let again = Clear { version: backfill.version, ..Clear::of(choice) };
                clear(&mut tx, graphs, &again, by).await?;
                Some(run.run_key)
            }
            None => create_run(&mut tx, graphs, version, &trigger(backfill, slot.date, by), now).await?,
        };
        // One that somebody else has made at this moment is theirs.
        if let Some(run) = run {
            backfills::take_over(&mut tx, run, id, ordinal, conf.as_ref()).await?;
        }
    }
    let extra = json!({ "backfill_id": id, "from_date": from_date, "to_date": to_date });
    write_down(&mut tx, "create_backfill", dag_id, None, by, extra).await?;
    tx.commit().await?;
    Ok(id)
}

fn trigger(backfill: &Backfill, date: DateTime<Utc>, by: &By) -> Trigger {
    Trigger {
        dag_id: backfill.dag_id.clone(),
        run_id: RunId::from(format!("backfill__{}", date.to_rfc3339_opts(SecondsFormat::AutoSi, false))),
        run_type: RunType::Backfill,
        logical_date: Some(date),
        data_interval: None,
        run_after: date,
        conf: backfill.conf.clone().unwrap_or_else(|| json!({})),
        note: None,
        triggered_by: "backfill",
        triggering_user: by.user.clone(),
    }
}

/// The slots that it is about, in its order. Locks the DAG: no run of it is made meanwhile.
async fn plan(tx: &mut PgConnection, graphs: &Graphs, backfill: &Backfill) -> Result<Vec<Slot>, Refused> {
    let Backfill { dag_id, from_date: from, to_date: to, .. } = backfill;
    let row = dags::lock(tx, dag_id).await?.ok_or_else(|| Refused::NoDag(dag_id.clone()))?;
    let graph = graphs.get(tx, row.current_version_id).await?;
    if backfill.conf.as_ref().is_some_and(|conf| !conf.is_object()) {
        return Err(Refused::Invalid("the conf of a backfill must be a JSON object".to_owned()));
    }
    if backfill.max_active_runs < 1 {
        return Err(Refused::Invalid("max_active_runs must be at least 1".to_owned()));
    }
    if from > to {
        return Err(Refused::Invalid("the from_date of a backfill must not lie after its to_date".to_owned()));
    }
    if backfill.run_backwards && graph.looks_back() {
        let text = "Backfill cannot be run in reverse when the Dag has tasks where depends_on_past=True.";
        return Err(Refused::Invalid(text.to_owned()));
    }
    if let Some((params, conf)) = graph.params().zip(backfill.conf.as_ref()) {
        params.check(conf).map_err(|error| Refused::Params(dag_id.clone(), error))?;
    }
    let now = store::now(tx).await?;
    let timetable = graph.schedule().parse().map_err(anyhow::Error::from)?;
    let mut dates = timetable.slots(graph.window(), *from, (*to).min(now), SLOTS_MAX + 1).ok_or_else(|| {
        Refused::Invalid(format!("{dag_id} has no schedule with slots, so there is nothing to be made up for"))
    })?;
    if dates.len() > SLOTS_MAX {
        let text = format!("between these dates there are more than {SLOTS_MAX} slots: take a shorter range");
        return Err(Refused::Invalid(text));
    }
    if backfill.run_backwards {
        dates.reverse();
    }
    let existing = backfills::existing(tx, dag_id, *from, *to).await?;
    let mut existing: HashMap<_, _> = existing.into_iter().map(|run| (run.logical_date, run)).collect();
    let again: Vec<_> =
        existing.values().filter(|run| runs_again(backfill.reprocess, run.state)).map(|run| run.run_key).collect();
    let now: HashMap<_, _> = backfills::lock_runs(tx, &again).await?.into_iter().collect();
    let slot = |date| match existing.remove(&date) {
        None => Some(Slot { date, again: None }),
        Some(run) => {
            let still = now.get(&run.run_key).is_some_and(|state| runs_again(backfill.reprocess, *state));
            still.then_some(Slot { date, again: Some(run) })
        }
    };
    Ok(dates.into_iter().filter_map(slot).collect())
}

fn runs_again(reprocess: Reprocess, state: RunState) -> bool {
    match reprocess {
        Reprocess::None => false,
        Reprocess::Failed => state == RunState::Failed,
        Reprocess::Completed => state.is_finished(),
    }
}

/// The backfill of that id.
///
/// # Errors
/// [`Refused`].
pub async fn find_backfill(conn: &mut PgConnection, id: BackfillId) -> Result<BackfillRow, Refused> {
    backfills::list(conn, None, Some(id)).await?.pop().ok_or(Refused::NoBackfill(id))
}

/// Starts no more of its runs, or goes on.
///
/// # Errors
/// [`Refused`].
pub async fn pause_backfill(conn: &mut PgConnection, id: BackfillId, paused: bool, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    let row = find_backfill(&mut tx, id).await?;
    if !backfills::set_paused(&mut tx, id, paused).await? {
        return Err(Refused::BackfillCompleted(id));
    }
    let event = if paused { "pause_backfill" } else { "unpause_backfill" };
    write_down(&mut tx, event, &row.dag_id, None, by, json!({ "backfill_id": id })).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends it: its runs that have not started fail, those that have go on.
///
/// # Errors
/// [`Refused`].
pub async fn cancel_backfill(conn: &mut PgConnection, graphs: &Graphs, id: BackfillId, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    let row = find_backfill(&mut tx, id).await?;
    // Nobody starts one of its runs meanwhile.
    dags::lock(&mut tx, &row.dag_id).await?;
    if !backfills::complete(&mut tx, id).await? {
        return Err(Refused::BackfillCompleted(id));
    }
    // All of them before the first gives back its slots: whoever holds slots waits for no run.
    for run in backfills::lock_all_queued(&mut tx, id).await? {
        let run_id = runs::id(&mut tx, run).await?;
        mark_run(&mut tx, graphs, &row.dag_id, &run_id, MarkedRun::Failed, by).await?;
    }
    write_down(&mut tx, "cancel_backfill", &row.dag_id, None, by, json!({ "backfill_id": id })).await?;
    tx.commit().await?;
    Ok(())
}
