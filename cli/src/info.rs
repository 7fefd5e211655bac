//! `info` and `completion`: about the program itself.

use clap::CommandFactory;
use serde_json::json;

use crate::{
    Exit,
    api::Api,
    arguments::{Arguments, OutputFormat},
    output,
};

/// What this program is, and how those that it talks to are.
pub(crate) async fn show(api: &Api, format: OutputFormat) -> anyhow::Result<Exit> {
    let (version, health) = (api.get("/version").await?, api.get("/monitor/health").await?);
    let through = match api {
        Api::Here { .. } => "the database",
        Api::There { url, .. } => url,
    };
    let thing = json!({
        "program": env!("CARGO_PKG_VERSION"), "through": through, "server": version["version"],
        "database": health["metadatabase"]["status"], "scheduler": health["scheduler"]["status"],
        "scheduler_heard": health["scheduler"]["latest_scheduler_heartbeat"],
    });
    output::one(format, &thing)?;
    Ok(Exit::Done)
}

/// What makes a shell complete our commands.
pub(crate) fn completion(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "streamcommerce", &mut script);
    output::say(&String::from_utf8_lossy(&script));
    Exit::Done
}
