//! `tasks`.

use orchestrator::{
    commands::{self, By, Choice, Clear, Only, Refused, RunChoice, TaskChoice},
    engine::Graphs,
    ids::{DagId, RunId},
    state::TaskState,
    store::pages::{
        Page,
        instances::{self as page, InstanceFilter},
        runs,
    },
    wake::Wake,
};
use serde::Serialize;

use crate::{
    Exit,
    arguments::{ClearOptions, ConnectionOptions, OutputFormat, TasksCommand},
    output::{self, instant, say},
    settings,
};

/// More tasks than anybody reads in a terminal.
const LIST: Page = Page { limit: 100_000, offset: 0 };

#[derive(Serialize)]
struct Row {
    task_id: String,
    map_index: i32,
    state: TaskState,
    try_number: Option<i32>,
    start_date: Option<chrono::DateTime<chrono::Utc>>,
    end_date: Option<chrono::DateTime<chrono::Utc>>,
}

pub(crate) async fn dispatch(
    connection: &ConnectionOptions,
    command: TasksCommand,
    format: OutputFormat,
) -> anyhow::Result<Exit> {
    match command {
        TasksCommand::List { dag_id, run_id } => list(connection, dag_id.into(), run_id.into(), format).await,
        TasksCommand::Clear(options) => clear(connection, options, format).await,
    }
}

async fn list(connection: &ConnectionOptions, dag: DagId, run: RunId, format: OutputFormat) -> anyhow::Result<Exit> {
    let pool = settings::pool(connection)?;
    let mut conn = pool.acquire().await?;
    if runs::get(&mut conn, &dag, &run).await?.is_none() {
        return Err(Refused::NoRun(dag, run).into());
    }
    let filter = InstanceFilter::of_run(&dag, &run).in_order();
    let listed = page::list(&mut conn, &filter, LIST).await?;
    let rows: Vec<_> = listed
        .rows
        .into_iter()
        .map(|instance| Row {
            task_id: instance.task_id.to_string(),
            map_index: instance.map_index,
            state: instance.state,
            try_number: Some(instance.try_number).filter(|number| *number > 0),
            start_date: instance.start_date,
            end_date: instance.end_date,
        })
        .collect();
    write(format, &rows)
}

async fn clear(connection: &ConnectionOptions, options: ClearOptions, format: OutputFormat) -> anyhow::Result<Exit> {
    let (pool, graphs) = (settings::pool(connection)?, Graphs::default());
    let only = match (options.only_failed, options.only_running) {
        (true, _) => Only::Failed,
        (false, true) => Only::Running,
        (false, false) => Only::All,
    };
    let runs = RunChoice::Around { run_id: options.run_id.into(), past: options.past, future: options.future };
    let tasks = TaskChoice {
        named: options.tasks.into_iter().map(Into::into).collect(),
        upstream: options.upstream,
        downstream: options.downstream,
    };
    let choice = Choice { dag_id: options.dag_id.into(), runs, tasks };
    let clear = Clear { only, ..Clear::of(choice) };
    let mut conn = pool.acquire().await?;
    let chosen = if options.yes {
        commands::clear(&mut conn, &graphs, &clear, &By::cli()).await?
    } else {
        commands::preview_clear(&mut conn, &graphs, &clear).await?
    };
    Wake::announce_once(&pool).await;
    let rows: Vec<_> = chosen
        .into_iter()
        .map(|instance| Row {
            task_id: instance.task_id.to_string(),
            map_index: instance.map_index,
            state: instance.state,
            try_number: None,
            start_date: None,
            end_date: None,
        })
        .collect();
    write(format, &rows)?;
    if format == OutputFormat::Table {
        let count = rows.len();
        say(&if options.yes {
            format!("{count} cleared")
        } else {
            format!("{count} would be cleared; --yes clears them")
        });
    }
    Ok(Exit::Done)
}

fn write(format: OutputFormat, rows: &[Row]) -> anyhow::Result<Exit> {
    output::list(format, &["task_id", "state", "try", "start", "end"], rows, |row| {
        vec![
            row.task_id.clone(),
            row.state.to_string(),
            row.try_number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
            instant(row.start_date),
            instant(row.end_date),
        ]
    })?;
    Ok(Exit::Done)
}
