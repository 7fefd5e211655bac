//! `pools`.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{
    Exit,
    api::{Api, Verb, part},
    arguments::{OutputFormat, PoolsCommand},
    output::{self, say},
    transfer,
};

const COLUMNS: [(&str, &str); 7] = [
    ("pool", "name"),
    ("slots", "slots"),
    ("open", "open_slots"),
    ("running", "running_slots"),
    ("queued", "queued_slots"),
    ("scheduled", "scheduled_slots"),
    ("description", "description"),
];

pub(crate) async fn dispatch(api: &Api, command: PoolsCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        PoolsCommand::List => output::rows(format, &COLUMNS, &api.all("/pools", "pools", usize::MAX).await?)?,
        PoolsCommand::Get { name } => output::one(format, &api.get(&format!("/pools/{}", part(&name))).await?)?,
        PoolsCommand::Set { name, slots, description, include_deferred } => {
            let pool = json!({ "name": name, "slots": slots, "description": description, "include_deferred": include_deferred });
            transfer::put(api, "/pools", vec![pool]).await?;
            say(&format!("the pool {name} has {slots} slots"));
        }
        PoolsCommand::Delete { name } => {
            api.send(Verb::Delete, &format!("/pools/{}", part(&name)), None).await?;
            say(&format!("the pool {name} is deleted"));
        }
        PoolsCommand::Import { file } => return import(api, &file).await,
        PoolsCommand::Export { file } => {
            let pools = api.all("/pools", "pools", usize::MAX).await?;
            let field = |pool: Value| {
                let name = pool["name"].as_str().unwrap_or_default().to_owned();
                let (slots, deferred) = (&pool["slots"], &pool["include_deferred"]);
                let description = pool["description"].as_str().unwrap_or_default();
                (name, json!({ "description": description, "include_deferred": deferred, "slots": slots }))
            };
            transfer::write(&file, "pools", pools.into_iter().map(field).collect::<Map<_, _>>())?;
        }
    }
    Ok(Exit::Done)
}

/// `{"name": {"slots": 3, "description": "", "include_deferred": false}}`.
async fn import(api: &Api, file: &Path) -> anyhow::Result<Exit> {
    let pools = transfer::read(file)?.into_iter().map(|(name, pool)| {
        let deferred = pool.get("include_deferred").cloned().unwrap_or(json!(false));
        json!({
            "name": name, "slots": pool["slots"], "description": pool["description"], "include_deferred": deferred,
        })
    });
    transfer::import(api, "/pools", "pools", pools.collect()).await
}
