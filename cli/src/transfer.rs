//! Files of Airflow: an object whose keys are names.

use std::{io::Write, path::Path};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::{
    Exit,
    api::{Api, Verb},
    output::{complain, say},
};

/// Reads a file.
///
/// # Errors
/// There is none, or it is not such an object.
pub(crate) fn read(file: &Path) -> anyhow::Result<Map<String, Value>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let wrong = || format!("{} is not a JSON object whose keys are names", file.display());
    serde_json::from_str(&text).with_context(wrong)
}

/// Writes a file that only its owner can read: there may be secrets in it.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(file: &Path, what: &str, all: Map<String, Value>) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let count = all.len();
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("cannot write {}", file.display()))?;
    opened.write_all(serde_json::to_string_pretty(&Value::Object(all))?.as_bytes())?;
    say(&format!("{count} {what} written to {}", file.display()));
    Ok(())
}

/// Makes or changes all of these, and says what of each became. What is refused does not hold up the others.
///
/// # Errors
/// Nobody answers.
pub(crate) async fn import(api: &Api, path: &str, what: &str, entities: Vec<Value>) -> anyhow::Result<Exit> {
    let (mut done, mut refused) = (0, 0);
    for entity in entities {
        match put(api, path, vec![entity]).await {
            Ok(()) => done += 1,
            Err(error) => {
                refused += 1;
                complain(&format!("{error:#}"));
            }
        }
    }
    say(&format!("{done} {what} imported"));
    Ok(if refused == 0 { Exit::Done } else { Exit::No })
}

/// Makes what is not there, and changes what is.
///
/// # Errors
/// It was refused, or nobody answers.
pub(crate) async fn put(api: &Api, path: &str, entities: Vec<Value>) -> anyhow::Result<()> {
    let action = json!({ "action": "create", "action_on_existence": "overwrite", "entities": entities });
    let answer = api.send(Verb::Patch, path, Some(json!({ "actions": [action] }))).await?;
    match answer["create"]["errors"].as_array().and_then(|errors| errors.first()) {
        None => Ok(()),
        Some(error) => {
            let text = error["error"].as_str().map_or_else(|| error["error"].to_string(), ToOwned::to_owned);
            anyhow::bail!("{}: {text}", entities[0].as_object().and_then(name).unwrap_or_default())
        }
    }
}

fn name(entity: &Map<String, Value>) -> Option<&str> {
    ["name", "key", "connection_id"].iter().find_map(|key| entity.get(*key)?.as_str())
}
