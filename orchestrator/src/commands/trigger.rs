//! Trigger.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{By, Refused, write_down};
use crate::{
    engine::{Graphs, Trigger, create_run},
    ids::{DagId, RunId},
    state::RunType,
    store::{self, dags},
};

/// A run that somebody asks for.
#[derive(Clone, Debug, Default)]
pub struct ManualRun {
    /// Its id; made from the instant if none is given.
    pub run_id: Option<RunId>,
    /// The date that it stands for, if any.
    pub logical_date: Option<DateTime<Utc>>,
    /// The data that it is about, from and to; none: the instant that it stands for.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Not before this instant.
    pub run_after: Option<DateTime<Utc>>,
    /// For its tasks to read: a JSON object.
    pub conf: Option<Value>,
    /// A remark.
    pub note: Option<String>,
}

/// Makes a manual run. It starts when its time has come, the DAG is not paused and `max_active_runs` has room.
///
/// # Errors
/// [`Refused`].
pub async fn trigger(
    conn: &mut PgConnection,
    graphs: &Graphs,
    dag: &DagId,
    run: ManualRun,
    by: &By,
) -> Result<RunId, Refused> {
    let conf = run.conf.unwrap_or_else(|| json!({}));
    if !conf.is_object() {
        return Err(Refused::Invalid(format!("conf must be a JSON object, not {conf}")));
    }
    if let Some((start, end)) = run.data_interval.filter(|(start, end)| start > end) {
        return Err(Refused::Invalid(format!("the data interval ends at {end}, before it starts at {start}")));
    }
    let mut tx = conn.begin().await?;
    let now = store::now(&mut tx).await?;
    let version = dags::current_version(&mut tx, dag).await?.ok_or_else(|| Refused::NoDag(dag.clone()))?;
    if let Some(params) = graphs.get(&mut tx, version).await?.params() {
        params.check(&conf).map_err(|error| Refused::Params(dag.clone(), error))?;
    }
    let run_id = run.run_id.unwrap_or_else(|| manual_run_id(now));
    if !is_valid_run_id(&run_id) {
        return Err(Refused::Invalid(format!("{:?} cannot be a run id", run_id.as_str())));
    }
    let trigger = Trigger {
        dag_id: dag.clone(),
        run_id: run_id.clone(),
        run_type: RunType::Manual,
        logical_date: run.logical_date,
        data_interval: run.data_interval,
        run_after: run.run_after.unwrap_or(now),
        conf,
        note: run.note,
        triggered_by: by.way.as_str(),
        triggering_user: by.user.clone(),
    };
    if create_run(&mut tx, graphs, version, &trigger, now).await?.is_none() {
        return Err(Refused::RunExists { dag_id: dag.clone(), run_id, logical_date: run.logical_date });
    }
    let extra = json!({ "conf": trigger.conf, "logical_date": trigger.logical_date });
    write_down(&mut tx, "trigger_dag_run", dag, Some(&run_id), by, extra).await?;
    tx.commit().await?;
    Ok(run_id)
}

/// Airflow's form: `manual__<instant>`.
fn manual_run_id(now: DateTime<Utc>) -> RunId {
    RunId::from(format!("manual__{}", now.to_rfc3339_opts(SecondsFormat::Micros, false)))
}

/// Airflow's default pattern for run ids (`[core] allowed_run_id_pattern`), which its own ids must pass too.
fn is_valid_run_id(run: &RunId) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '~' | ':' | '+' | '-');
    !run.as_str().is_empty() && run.as_str().len() <= 250 && run.as_str().chars().all(allowed)
}
