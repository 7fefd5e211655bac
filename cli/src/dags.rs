//! `dags`.

use anyhow::Context;
use chrono::Utc;
use orchestrator::{
    commands::{self, By, ManualRun},
    dag::{Dag, Definition, Registry},
    engine::Graphs,
    ids::DagId,
    store::pages::{
        Page,
        dags::{self as page, DagFilter},
    },
    testing::{self, Progress},
    wake::Wake,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Exit,
    arguments::{ConnectionOptions, DagsCommand, OutputFormat},
    output::{self, instant, say},
    settings,
};

/// More DAGs than anybody reads in a terminal.
const LIST: Page = Page { limit: 10_000, offset: 0 };

pub(crate) async fn dispatch(
    connection: &ConnectionOptions,
    registry: &Registry,
    command: DagsCommand,
    format: OutputFormat,
) -> anyhow::Result<Exit> {
    match command {
        DagsCommand::List => list(connection, format).await,
        DagsCommand::Show { dag_id } => show(find(registry, &dag_id)?, format),
        DagsCommand::Trigger { dag_id, conf, run_id, logical_date } => {
            let conf = conf.map(|text| parse_conf(&text)).transpose()?;
            let run = ManualRun { run_id: run_id.map(Into::into), logical_date, conf, ..ManualRun::default() };
            trigger(connection, &dag_id.into(), run, format).await
        }
        DagsCommand::Pause { dag_id } => pause(connection, &dag_id.into(), true).await,
        DagsCommand::Unpause { dag_id } => pause(connection, &dag_id.into(), false).await,
        DagsCommand::Test { dag_id, conf } => {
            let conf = conf.map(|text| parse_conf(&text)).transpose()?.unwrap_or_else(|| json!({}));
            test(find(registry, &dag_id)?, conf).await
        }
        // Answered before the DAGs were built.
        DagsCommand::Check | DagsCommand::New { .. } => Ok(Exit::Done),
    }
}

/// Says what is wrong with the DAGs of this binary.
pub(crate) fn check(dags: Vec<Dag>, format: OutputFormat) -> anyhow::Result<Exit> {
    let count = dags.len();
    let faults = match Registry::build(dags) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    };
    match format {
        OutputFormat::Json => say(&serde_json::to_string_pretty(&json!({ "dags": count, "faults": faults }))?),
        OutputFormat::Table if faults.is_empty() => say(&format!("{count} dags, no faults")),
        OutputFormat::Table => faults.iter().for_each(|fault| output::complain(fault)),
    }
    Ok(if faults.is_empty() { Exit::Done } else { Exit::No })
}

#[derive(Serialize)]
struct Row {
    dag_id: String,
    is_paused: bool,
    version: i32,
    schedule: String,
    next_run_at: Option<chrono::DateTime<Utc>>,
    owner: String,
}

async fn list(connection: &ConnectionOptions, format: OutputFormat) -> anyhow::Result<Exit> {
    let (pool, graphs) = (settings::pool(connection)?, Graphs::default());
    let mut conn = pool.acquire().await?;
    let mut rows = Vec::new();
    for dag in page::list(&mut conn, &DagFilter::default(), LIST).await?.rows {
        let graph = graphs.get(&mut conn, dag.version).await?;
        rows.push(Row {
            dag_id: dag.dag_id.to_string(),
            is_paused: dag.is_paused,
            version: dag.version_number,
            schedule: graph.schedule().summary(),
            next_run_at: dag.next_run_at.filter(|_| !dag.is_paused),
            owner: graph.owner().to_owned(),
        });
    }
    output::list(format, &["dag_id", "paused", "version", "schedule", "next run", "owner"], &rows, |row| {
        vec![
            row.dag_id.clone(),
            row.is_paused.to_string(),
            row.version.to_string(),
            row.schedule.clone(),
            instant(row.next_run_at),
            row.owner.clone(),
        ]
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct TaskRow {
    task_id: String,
    operator: String,
    downstream: Vec<String>,
    retries: u32,
}

fn show(definition: &Definition, format: OutputFormat) -> anyhow::Result<Exit> {
    let graph = definition.graph();
    let name = |node: &orchestrator::ids::Node| graph.task(*node).map(|task| task.task_id.to_string());
    let rows: Vec<_> = graph
        .nodes()
        .zip(graph.tasks())
        .map(|(node, task)| TaskRow {
            task_id: task.task_id.to_string(),
            operator: task.operator.clone(),
            downstream: graph.downstream(node).iter().filter_map(name).collect(),
            retries: task.retry.retries,
        })
        .collect();
    output::list(format, &["task_id", "operator", "then", "retries"], &rows, |row| {
        vec![row.task_id.clone(), row.operator.clone(), row.downstream.join(", "), row.retries.to_string()]
    })?;
    Ok(Exit::Done)
}

async fn trigger(
    connection: &ConnectionOptions,
    dag: &DagId,
    run: ManualRun,
    format: OutputFormat,
) -> anyhow::Result<Exit> {
    let pool = settings::pool(connection)?;
    let mut conn = pool.acquire().await?;
    let run_id = commands::trigger(&mut conn, &Graphs::default(), dag, run, &By::cli()).await?;
    let is_paused = page::get(&mut conn, dag).await?.is_some_and(|dag| dag.is_paused);
    Wake::announce_once(&pool).await;
    match format {
        OutputFormat::Json => say(&json!({ "dag_id": dag, "run_id": run_id, "is_paused": is_paused }).to_string()),
        OutputFormat::Table if is_paused => {
            say(&format!("{run_id} is queued; it waits until `dags unpause {dag}`, for the dag is paused"));
        }
        OutputFormat::Table => say(&format!("{run_id} is queued")),
    }
    Ok(Exit::Done)
}

async fn pause(connection: &ConnectionOptions, dag: &DagId, paused: bool) -> anyhow::Result<Exit> {
    let pool = settings::pool(connection)?;
    commands::set_paused(&mut *pool.acquire().await?, &Graphs::default(), dag, paused, &By::cli()).await?;
    Wake::announce_once(&pool).await;
    say(&format!("{dag} is {}", if paused { "paused" } else { "unpaused" }));
    Ok(Exit::Done)
}

async fn test(definition: &Definition, conf: Value) -> anyhow::Result<Exit> {
    let run = testing::run(definition, Utc::now(), conf, |progress| match progress {
        Progress::Started(task, number) => say(&format!("{task}: try {number}")),
        Progress::Said(task, level, message) => say(&format!("{task}: {level} {message}")),
        Progress::Retrying(task, cause, delay) => {
            say(&format!("{task}: failed, next try at once (in production in {delay:?}): {cause}"));
        }
        Progress::Ended(task, state, None) => say(&format!("{task}: {state}")),
        Progress::Ended(task, state, Some(cause)) => say(&format!("{task}: {state}: {cause}")),
    })
    .await;
    Ok(if run.succeeded() { Exit::Done } else { Exit::No })
}

fn find<'r>(registry: &'r Registry, dag_id: &str) -> anyhow::Result<&'r Definition> {
    let known = || registry.dag_ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    registry.get(&DagId::from(dag_id)).with_context(|| format!("this binary has no dag {dag_id}; it has {}", known()))
}

fn parse_conf(text: &str) -> anyhow::Result<Value> {
    let conf: Value = serde_json::from_str(text).context("conf is not JSON")?;
    anyhow::ensure!(conf.is_object(), "conf must be a JSON object, for example '{{\"key\": 1}}'");
    Ok(conf)
}
