//! `runs`.

use chrono::{DateTime, Utc};
use orchestrator::{
    ids::DagId,
    state::RunState,
    store::pages::{
        Page, dags,
        runs::{self as page, RunColumn, RunFilter},
        select::Direction,
    },
};
use serde::Serialize;

use crate::{
    Exit,
    arguments::{ConnectionOptions, OutputFormat, RunsCommand},
    output::{self, instant},
    settings,
};

#[derive(Serialize)]
struct Row {
    dag_id: String,
    run_id: String,
    state: RunState,
    run_type: &'static str,
    logical_date: Option<DateTime<Utc>>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
}

pub(crate) async fn dispatch(
    connection: &ConnectionOptions,
    command: RunsCommand,
    format: OutputFormat,
) -> anyhow::Result<Exit> {
    let RunsCommand::List { dag_id, state, limit } = command;
    let pool = settings::pool(connection)?;
    let mut conn = pool.acquire().await?;
    let dag_id = dag_id.map(DagId::from);
    if let Some(dag) = &dag_id {
        anyhow::ensure!(dags::get(&mut conn, dag).await?.is_some(), "there is no dag {dag}");
    }
    let filter = RunFilter::default().one_of(RunColumn::DagId, dag_id).one_of(RunColumn::State, state);
    let filter = filter.order_by(RunColumn::RunAfter, Direction::Descending);
    let listed = page::list(&mut conn, &filter, Page { limit, offset: 0 }).await?;
    let rows: Vec<_> = listed
        .rows
        .into_iter()
        .map(|run| Row {
            dag_id: run.dag_id.to_string(),
            run_id: run.run_id.to_string(),
            state: run.state,
            run_type: run.run_type.as_str(),
            logical_date: run.logical_date,
            start_date: run.start_date,
            end_date: run.end_date,
        })
        .collect();
    output::list(format, &["dag_id", "run_id", "state", "start", "end"], &rows, |row| {
        vec![
            row.dag_id.clone(),
            row.run_id.clone(),
            row.state.to_string(),
            instant(row.start_date),
            instant(row.end_date),
        ]
    })?;
    Ok(Exit::Done)
}
