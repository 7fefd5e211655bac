//! `assets`.

use crate::{
    Exit,
    api::Api,
    arguments::{AssetsCommand, OutputFormat},
    output,
};

pub(crate) async fn dispatch(api: &Api, command: AssetsCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        AssetsCommand::List => {
            let columns = [("id", "id"), ("asset", "name"), ("since", "created_at")];
            output::rows(format, &columns, &api.all("/assets", "assets", usize::MAX).await?)?;
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
