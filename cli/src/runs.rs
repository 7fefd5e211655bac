//! `runs`.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Exit,
    api::{Api, part},
    arguments::{OutputFormat, RunsCommand},
    output::{self, say},
};

const COLUMNS: [(&str, &str); 6] = [
    ("dag_id", "dag_id"),
    ("run_id", "dag_run_id"),
    ("state", "state"),
    ("type", "run_type"),
    ("start", "start_date"),
    ("end", "end_date"),
];

/// How often a run is looked at; one that takes long to look at, less often.
const EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn dispatch(api: &Api, command: RunsCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        RunsCommand::List { dag_id, state, limit } => {
            let dag = dag_id.as_deref().map_or("~".to_owned(), part);
            let state = state.map(|state| format!("&state={state}")).unwrap_or_default();
            let path = format!("/dags/{dag}/dagRuns?order_by=-run_after{state}");
            output::rows(format, &COLUMNS, &api.all(&path, "dag_runs", limit as usize).await?)?;
            Ok(Exit::Done)
        }
        RunsCommand::Wait { dag_id, run_id } => {
            wait(api, &format!("/dags/{}/dagRuns/{}", part(&dag_id), part(&run_id))).await
        }
    }
}

/// Tells each change until the run has ended.
async fn wait(api: &Api, path: &str) -> anyhow::Result<Exit> {
    let mut told: HashMap<(String, i64), String> = HashMap::new();
    loop {
        let began = Instant::now();
        let run = api.get(path).await?;
        let instances = api.all(&format!("{path}/taskInstances"), "task_instances", usize::MAX).await?;
        for instance in &instances {
            let name = (text(instance, "task_id"), instance["map_index"].as_i64().unwrap_or(-1));
            let state = text(instance, "state");
            if state.is_empty() || told.get(&name) == Some(&state) {
                continue;
            }
            let index = if name.1 < 0 { String::new() } else { format!(" [{}]", name.1) };
            let number = instance["try_number"].as_i64().filter(|number| *number > 1);
            let number = number.map(|number| format!(" (try {number})")).unwrap_or_default();
            say(&format!("{}{index}: {state}{number}", name.0));
            told.insert(name, state);
        }
        let state = text(&run, "state");
        if state == "success" || state == "failed" {
            say(&format!("{}: {state}", text(&run, "dag_run_id")));
            return Ok(if state == "success" { Exit::Done } else { Exit::No });
        }
        tokio::time::sleep(EVERY.max(4 * began.elapsed())).await;
    }
}

fn text(of: &Value, field: &str) -> String {
    of[field].as_str().unwrap_or_default().to_owned()
}
