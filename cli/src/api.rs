//! The API, wherever it is: in this process, on the database, or behind the address of a server.

use anyhow::{Context as _, bail};
use orchestrator::{engine::Graphs, secrets::Keys, wake::Wake};
use serde_json::{Map, Value};
use sqlx::PgPool;
use web::Answer;

use crate::{
    arguments::{ConnectionOptions, RemoteOptions},
    settings,
};

/// Where commands go.
#[derive(Debug)]
pub(crate) enum Api {
    /// Into this process, on the database.
    Here { own: web::Own, pool: PgPool },
    /// To a server.
    There { http: reqwest::Client, url: String, token: String },
}

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    fn method(self) -> reqwest::Method {
        match self {
            Self::Get => reqwest::Method::GET,
            Self::Post => reqwest::Method::POST,
            Self::Put => reqwest::Method::PUT,
            Self::Patch => reqwest::Method::PATCH,
            Self::Delete => reqwest::Method::DELETE,
        }
    }
}

/// Rows in one request for a list: Airflow's most.
const PAGE: usize = 100;

/// Where what Airflow's API does not have begins; all other paths are below `/api/v2`.
const OURS: &str = "/api/";

impl Api {
    /// The server that was named, else the database.
    ///
    /// # Errors
    /// Neither is named, or the server without a token.
    pub(crate) fn of(remote: &RemoteOptions, connection: &ConnectionOptions) -> anyhow::Result<Self> {
        let Some(url) = &remote.url else {
            let pool = settings::pool(connection)?;
            let app = web::App {
                pool: pool.clone().into(),
                graphs: Graphs::default(),
                wake: Wake::default(),
                keys: Keys::from_env()?,
                overflow: None,
                figures: orchestrator::worker::Figures::default(),
            };
            return Ok(Self::Here { own: web::Own::new(app), pool });
        };
        let token = remote.token.clone().context(
            "a server needs a token: set STREAMCOMMERCE_TOKEN or --token (streamcommerce users token NAME PURPOSE makes one)",
        )?;
        Ok(Self::There { http: reqwest::Client::new(), url: url.trim_end_matches('/').to_owned(), token })
    }

    /// The database, for what a server does not give away.
    ///
    /// # Errors
    /// This is a server.
    pub(crate) fn database(&self) -> anyhow::Result<&PgPool> {
        match self {
            Self::Here { pool, .. } => Ok(pool),
            Self::There { .. } => bail!("a server never shows secrets: run this without --url, on the database"),
        }
    }

    /// What is at a path.
    ///
    /// # Errors
    /// It was refused, or nobody answers.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Verb::Get, path, None).await
    }

    /// Asks for something.
    ///
    /// # Errors
    /// It was refused, or nobody answers.
    pub(crate) async fn send(&self, verb: Verb, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let path = if path.starts_with(OURS) { path.to_owned() } else { format!("/api/v2{path}") };
        let (status, text) = match self {
            Self::Here { own, pool } => {
                let Answer { status, text } = own.ask(verb.method().as_str(), &path, body).await?;
                if verb != Verb::Get {
                    Wake::announce_once(pool).await;
                }
                (status, text)
            }
            Self::There { http, url, token } => {
                let request = http.request(verb.method(), format!("{url}{path}")).bearer_auth(token);
                let request = match body {
                    Some(body) => request.json(&body),
                    None => request,
                };
                let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
                (answer.status().as_u16(), answer.text().await?)
            }
        };
        let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::Null) };
        if !(200..300).contains(&status) {
            bail!("{}", told(status, &value));
        }
        Ok(value)
    }

    /// All rows of a list, at most so many.
    ///
    /// # Errors
    /// It was refused, or nobody answers.
    pub(crate) async fn all(&self, path: &str, plural: &str, at_most: usize) -> anyhow::Result<Vec<Value>> {
        let mut rows: Vec<Value> = Vec::new();
        let join = if path.contains('?') { '&' } else { '?' };
        loop {
            let limit = PAGE.min(at_most - rows.len());
            let mut page = self.get(&format!("{path}{join}limit={limit}&offset={}", rows.len())).await?;
            let Some(more) = page[plural].as_array_mut() else { return Ok(rows) };
            let is_last = more.len() < limit;
            rows.append(more);
            if is_last || rows.len() >= at_most {
                return Ok(rows);
            }
        }
    }
}

/// Why something was refused, in a sentence.
fn told(status: u16, answer: &Value) -> String {
    let fault = |fault: &Value| {
        let place = fault["loc"].as_array().into_iter().flatten().filter_map(Value::as_str);
        format!("{}: {}", place.collect::<Vec<_>>().join("."), fault["msg"].as_str().unwrap_or_default())
    };
    match &answer["detail"] {
        Value::String(text) => text.clone(),
        Value::Array(faults) => faults.iter().map(fault).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => reason(fields),
        _ => format!("refused with status {status}"),
    }
}

fn reason(fields: &Map<String, Value>) -> String {
    let text = fields.get("message").or_else(|| fields.get("reason"));
    text.and_then(Value::as_str).unwrap_or("refused").to_owned()
}

/// A text as a part of a path, or as a value in a query string.
pub(crate) fn part(text: &str) -> String {
    web::part(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_one_sentence() {
        assert_eq!(told(404, &json!({ "detail": "no such DAG" })), "no such DAG");
        let faults = json!({ "detail": [{ "loc": ["body", "slots"], "msg": "Field required" }] });
        assert_eq!(told(422, &faults), "body.slots: Field required");
        assert_eq!(told(409, &json!({ "detail": { "message": "it exists" } })), "it exists");
        assert_eq!(told(502, &Value::Null), "refused with status 502");
    }
}
