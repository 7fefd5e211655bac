//! `backfill`.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    Exit,
    api::{Api, Verb, part},
    arguments::{BackfillCommand, BackfillOptions, OutputFormat},
    output::{self, say},
};

const COLUMNS: [(&str, &str); 6] = [
    ("id", "id"),
    ("dag_id", "dag_id"),
    ("from", "from_date"),
    ("to", "to_date"),
    ("paused", "is_paused"),
    ("completed", "completed_at"),
];

pub(crate) async fn dispatch(api: &Api, command: BackfillCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        BackfillCommand::Create(options) => return create(api, options, format).await,
        BackfillCommand::List { dag_id } => {
            let path = dag_id.map_or("/backfills".to_owned(), |dag| format!("/backfills?dag_id={}", part(&dag)));
            output::rows(format, &COLUMNS, &api.all(&path, "backfills", usize::MAX).await?)?;
        }
        BackfillCommand::Pause { id } => change(api, id, "pause", "paused").await?,
        BackfillCommand::Unpause { id } => change(api, id, "unpause", "unpaused").await?,
        BackfillCommand::Cancel { id } => change(api, id, "cancel", "cancelled").await?,
    }
    Ok(Exit::Done)
}

async fn change(api: &Api, id: i64, deed: &str, done: &str) -> anyhow::Result<()> {
    api.send(Verb::Put, &format!("/backfills/{id}/{deed}"), None).await?;
    say(&format!("the backfill {id} is {done}"));
    Ok(())
}

async fn create(api: &Api, options: BackfillOptions, format: OutputFormat) -> anyhow::Result<Exit> {
    let conf: Option<Value> =
        options.dag_run_conf.map(|text| serde_json::from_str(&text)).transpose().context("the conf is not JSON")?;
    let body = json!({
        "dag_id": options.dag_id, "from_date": options.from_date, "to_date": options.to_date,
        "max_active_runs": options.max_active_runs, "run_backwards": options.run_backwards,
        "reprocess_behavior": options.reprocess_behavior, "dag_run_conf": conf,
    });
    if options.dry_run {
        let planned = api.send(Verb::Post, "/backfills/dry_run", Some(body)).await?;
        let rows = planned["backfills"].as_array().cloned().unwrap_or_default();
        output::rows(format, &[("logical_date", "logical_date")], &rows)?;
        return Ok(Exit::Done);
    }
    output::one(format, &api.send(Verb::Post, "/backfills", Some(body)).await?)?;
    Ok(Exit::Done)
}
