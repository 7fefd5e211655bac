//! `variables`.

use anyhow::Context as _;
use orchestrator::{
    lookup,
    secrets::{Keys, Sealed},
    store::variables,
};
use serde_json::{Map, Value, json};

use crate::{
    Exit,
    api::{Api, Verb, part},
    arguments::{OutputFormat, VariablesCommand},
    output::{self, say},
    transfer,
};

const COLUMNS: [(&str, &str); 3] = [("key", "key"), ("value", "value"), ("description", "description")];

pub(crate) async fn dispatch(api: &Api, command: VariablesCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        VariablesCommand::List => {
            output::rows(format, &COLUMNS, &api.all("/variables", "variables", usize::MAX).await?)?;
        }
        VariablesCommand::Get { key } => say(&get(api, &key).await?),
        VariablesCommand::Set { key, value, description } => {
            let mut variable = json!({ "key": key, "value": value });
            if let Some(description) = description {
                variable["description"] = json!(description);
            }
            transfer::put(api, "/variables", vec![variable]).await?;
            say(&format!("the variable {key} is set"));
        }
        VariablesCommand::Delete { key } => {
            api.send(Verb::Delete, &format!("/variables/{}", part(&key)), None).await?;
            say(&format!("the variable {key} is deleted"));
        }
        VariablesCommand::Import { file } => {
            let variables = transfer::read(&file)?.into_iter().map(|(key, value)| of_file(&key, value)).collect();
            return transfer::import(api, "/variables", "variables", variables).await;
        }
        VariablesCommand::Export { file } => {
            let mut conn = api.database()?.acquire().await?;
            let keys = Keys::from_env()?;
            let mut all = Map::new();
            for row in variables::list(&mut conn, None).await? {
                let value = keys.open(Sealed::Variable(&row.key), &row.sealed)?;
                all.insert(row.key, to_file(value, row.description));
            }
            transfer::write(&file, "variables", all)?;
        }
    }
    Ok(Exit::Done)
}

/// On the database also what sounds secret: whoever may read it there may have it.
async fn get(api: &Api, key: &str) -> anyhow::Result<String> {
    if let Api::Here { pool, .. } = api {
        let value = lookup::variable(&mut *pool.acquire().await?, &Keys::from_env()?, key).await?;
        return value.with_context(|| format!("there is no variable {key}"));
    }
    let found = api.get(&format!("/variables/{}", part(key))).await?;
    Ok(found["value"].as_str().unwrap_or_default().to_owned())
}

/// A value, or with a description an object of both; what is no text is written as JSON.
fn of_file(key: &str, value: Value) -> Value {
    let (value, description) = match value {
        Value::Object(mut fields) if fields.contains_key("value") => {
            (fields.remove("value").unwrap_or_default(), fields.remove("description").unwrap_or_default())
        }
        other => (other, Value::Null),
    };
    let text = match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    json!({ "key": key, "value": text, "description": description })
}

/// A value that is JSON stands as such, as in Airflow's files.
fn to_file(value: String, description: Option<String>) -> Value {
    let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
    match description.filter(|text| !text.is_empty()) {
        Some(description) => json!({ "description": description, "value": value }),
        None => value,
    }
}
