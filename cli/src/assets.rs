//! `assets`.

use anyhow::Context as _;

use crate::{
    Exit,
    api::{Api, Verb, part},
    arguments::{AssetsCommand, OutputFormat},
    output::{self, say},
};

pub(crate) async fn dispatch(api: &Api, command: AssetsCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        AssetsCommand::List => {
            let columns = [("id", "id"), ("asset", "name"), ("since", "created_at")];
            output::rows(format, &columns, &api.all("/assets", "assets", usize::MAX).await?)?;
        }
        AssetsCommand::Materialize { name } => {
            let found = api.all(&format!("/assets?name_pattern={}", part(&name)), "assets", usize::MAX).await?;
            let asset = found.iter().find(|asset| asset["name"] == *name);
            let asset = asset.with_context(|| format!("there is no asset {name}"))?;
            let made = api.send(Verb::Post, &format!("/assets/{}/materialize", asset["id"]), None).await?;
            let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
            say(&format!("{} of {} is queued", text("dag_run_id"), text("dag_id")));
        }
        AssetsCommand::Events { limit } => {
            let columns = [
                ("asset", "name"),
                ("when", "timestamp"),
                ("dag", "source_dag_id"),
                ("task", "source_task_id"),
                ("run", "source_run_id"),
            ];
            let rows = api.all("/assets/events?order_by=-timestamp", "asset_events", limit as usize).await?;
            output::rows(format, &columns, &rows)?;
        }
    }
    Ok(Exit::Done)
}
