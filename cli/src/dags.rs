//! `dags`.

use anyhow::Context;
use chrono::Utc;
use orchestrator::{
    dag::{Dag, Definition, Registry},
    ids::DagId,
    testing::{self, Progress},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Exit,
    api::{Api, Verb, part},
    arguments::{DagsCommand, OutputFormat, RUNS_LISTED, RunsCommand},
    output::{self, say},
    runs,
};

pub(crate) async fn dispatch(api: &Api, command: DagsCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        DagsCommand::List => {
            output::rows(format, &COLUMNS, &api.all("/dags?order_by=dag_id", "dags", usize::MAX).await?)?;
        }
        DagsCommand::Trigger { dag_id, conf, run_id, logical_date } => {
            let conf = conf.map(|text| parse_conf(&text)).transpose()?.unwrap_or_else(|| json!({}));
            let run = json!({ "dag_run_id": run_id, "logical_date": logical_date, "conf": conf });
            trigger(api, &dag_id, run, format).await?;
        }
        DagsCommand::Details { dag_id } => {
            let details = api.get(&format!("/dags/{}/details", part(&dag_id))).await?;
            output::one(format, &details)?;
        }
        DagsCommand::ListRuns { dag_id, state } => {
            let list = RunsCommand::List { dag_id: Some(dag_id), state, limit: RUNS_LISTED };
            return runs::dispatch(api, list, format).await;
        }
        DagsCommand::State { dag_id, run_id } => {
            let run = api.get(&format!("/dags/{}/dagRuns/{}", part(&dag_id), part(&run_id))).await?;
            say(run["state"].as_str().unwrap_or_default());
        }
        DagsCommand::Delete { dag_id, yes } => delete(api, &dag_id, yes).await?,
        DagsCommand::Pause { dag_id } => pause(api, &dag_id, true).await?,
        DagsCommand::Unpause { dag_id } => pause(api, &dag_id, false).await?,
        // Answered by the binary alone, before.
        DagsCommand::Check | DagsCommand::New { .. } | DagsCommand::Show { .. } | DagsCommand::Test { .. } => {}
    }
    Ok(Exit::Done)
}

/// Says what is wrong with the DAGs of this binary.
pub(crate) fn check(dags: Vec<Dag>, format: OutputFormat) -> anyhow::Result<Exit> {
    let count = dags.len();
    let faults = match Registry::build(dags) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    };
    match format {
        OutputFormat::Json | OutputFormat::Yaml => output::one(format, &json!({ "dags": count, "faults": faults }))?,
        OutputFormat::Table if faults.is_empty() => say(&format!("{count} dags, no faults")),
        OutputFormat::Table => faults.iter().for_each(|fault| output::complain(fault)),
    }
    Ok(if faults.is_empty() { Exit::Done } else { Exit::No })
}

const COLUMNS: [(&str, &str); 5] = [
    ("dag_id", "dag_id"),
    ("paused", "is_paused"),
    ("schedule", "timetable_summary"),
    ("next run", "next_dagrun_run_after"),
    ("owner", "owners"),
];

#[derive(Serialize)]
struct TaskRow {
    task_id: String,
    operator: String,
    downstream: Vec<String>,
    retries: u32,
}

/// The tasks of a DAG of this binary.
pub(crate) fn show(registry: &Registry, dag_id: &str, format: OutputFormat) -> anyhow::Result<Exit> {
    let graph = find(registry, dag_id)?.graph();
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

async fn trigger(api: &Api, dag: &str, run: Value, format: OutputFormat) -> anyhow::Result<()> {
    let path = format!("/dags/{}", part(dag));
    let made = api.send(Verb::Post, &format!("{path}/dagRuns"), Some(run)).await?;
    if format != OutputFormat::Table {
        return output::one(format, &made);
    }
    let run_id = made["dag_run_id"].as_str().unwrap_or_default();
    match api.get(&path).await?["is_paused"].as_bool() {
        Some(true) => say(&format!("{run_id} is queued; it waits until `dags unpause {dag}`, for the dag is paused")),
        _ => say(&format!("{run_id} is queued")),
    }
    Ok(())
}

async fn delete(api: &Api, dag: &str, yes: bool) -> anyhow::Result<()> {
    let path = format!("/dags/{}", part(dag));
    let runs = api.get(&format!("{path}/dagRuns?limit=1")).await?["total_entries"].clone();
    if yes {
        api.send(Verb::Delete, &path, None).await?;
        say(&format!("{dag} is deleted, with its {runs} runs"));
    } else {
        say(&format!("{dag} and its {runs} runs would be deleted; --yes deletes them"));
    }
    Ok(())
}

async fn pause(api: &Api, dag: &str, paused: bool) -> anyhow::Result<()> {
    api.send(Verb::Patch, &format!("/dags/{}", part(dag)), Some(json!({ "is_paused": paused }))).await?;
    say(&format!("{dag} is {}", if paused { "paused" } else { "unpaused" }));
    Ok(())
}

/// Runs a DAG of this binary, here and now.
pub(crate) async fn test(registry: &Registry, dag_id: &str, conf: Option<String>) -> anyhow::Result<Exit> {
    let definition = find(registry, dag_id)?;
    let conf = conf.map(|text| parse_conf(&text)).transpose()?.unwrap_or_else(|| json!({}));
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
