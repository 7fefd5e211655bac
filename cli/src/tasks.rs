//! `tasks`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    Exit,
    api::{Api, Verb, part},
    arguments::{ClearOptions, LogsOptions, OutputFormat, TasksCommand},
    output::{self, say},
};

const COLUMNS: [(&str, &str); 6] = [
    ("task_id", "task_id"),
    ("index", "map_index"),
    ("state", "state"),
    ("try", "try_number"),
    ("start", "start_date"),
    ("end", "end_date"),
];

/// How often a log is looked at.
const EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn dispatch(api: &Api, command: TasksCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        TasksCommand::List { dag_id, run_id: None } => {
            let columns = [("task_id", "task_id"), ("operator", "operator_name"), ("then", "downstream_task_ids")];
            let found = api.get(&format!("/dags/{}/tasks", part(&dag_id))).await?;
            output::rows(format, &columns, found["tasks"].as_array().map_or(&[], Vec::as_slice))?;
            Ok(Exit::Done)
        }
        TasksCommand::State { dag_id, run_id, task_id, map_index } => {
            let task = format!("/dags/{}/dagRuns/{}/taskInstances/{}", part(&dag_id), part(&run_id), part(&task_id));
            let index = if map_index < 0 { String::new() } else { format!("/{map_index}") };
            let found = api.get(&format!("{task}{index}")).await?;
            say(found["state"].as_str().unwrap_or("none"));
            Ok(Exit::Done)
        }
        TasksCommand::List { dag_id, run_id: Some(run_id) } => {
            let path = format!("/dags/{}/dagRuns/{}/taskInstances", part(&dag_id), part(&run_id));
            output::rows(format, &COLUMNS, &api.all(&path, "task_instances", usize::MAX).await?)?;
            Ok(Exit::Done)
        }
        TasksCommand::Logs(options) => logs(api, &options).await,
        TasksCommand::Clear(options) => clear(api, options, format).await,
    }
}

async fn clear(api: &Api, options: ClearOptions, format: OutputFormat) -> anyhow::Result<Exit> {
    let mut body = json!({
        "dry_run": !options.yes, "dag_run_id": options.run_id, "only_failed": options.only_failed,
        "only_running": options.only_running, "include_upstream": options.upstream,
        "include_downstream": options.downstream, "include_past": options.past, "include_future": options.future,
    });
    if !options.tasks.is_empty() {
        body["task_ids"] = json!(options.tasks);
    }
    let path = format!("/dags/{}/clearTaskInstances", part(&options.dag_id));
    let answer = api.send(Verb::Post, &path, Some(body)).await?;
    let rows = answer["task_instances"].as_array().cloned().unwrap_or_default();
    output::rows(format, &COLUMNS[..3], &rows)?;
    if format == OutputFormat::Table {
        let count = rows.len();
        say(&match options.yes {
            true => format!("{count} cleared"),
            false => format!("{count} would be cleared; --yes clears them"),
        });
    }
    Ok(Exit::Done)
}

async fn logs(api: &Api, options: &LogsOptions) -> anyhow::Result<Exit> {
    let LogsOptions { dag_id, run_id, task_id, map_index, .. } = options;
    let instance = format!("/dags/{}/dagRuns/{}/taskInstances/{}", part(dag_id), part(run_id), part(task_id));
    let of_index = format!("{instance}/{map_index}");
    let mut log = Log { token: None, said: 0 };
    loop {
        // Asked before the log: what ends meanwhile has said its last word when the log is read.
        let now = api.get(if *map_index < 0 { &instance } else { &of_index }).await?;
        let number = options.try_number.or(now["try_number"].as_i64()).unwrap_or(0);
        log.tell(api, &format!("{instance}/logs/{number}?map_index={map_index}")).await?;
        if !options.follow || !is_to_come(&now, number) {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether that try may still say something.
fn is_to_come(instance: &Value, number: i64) -> bool {
    let state = instance["state"].as_str().unwrap_or_default();
    let has_ended = ["success", "failed", "skipped", "upstream_failed", "removed"].contains(&state);
    !has_ended && instance["try_number"].as_i64().unwrap_or(0) <= number
}

/// How far a log has been told.
struct Log {
    /// The end of the last part that was full.
    token: Option<String>,
    /// Lines of the part after it.
    said: usize,
}

impl Log {
    /// Tells what is new.
    async fn tell(&mut self, api: &Api, path: &str) -> anyhow::Result<()> {
        loop {
            let token = self.token.as_ref().map(|token| format!("&token={}", part(token))).unwrap_or_default();
            let answer = api.get(&format!("{path}{token}")).await?;
            let lines = answer["content"].as_array().into_iter().flatten().skip(self.said);
            for line in lines {
                let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
                say(&format!("{} {} {}", text("timestamp"), text("level").to_uppercase(), text("event")));
                self.said += 1;
            }
            let Some(next) = answer["continuation_token"].as_str() else { return Ok(()) };
            (self.token, self.said) = (Some(next.to_owned()), 0);
        }
    }
}
