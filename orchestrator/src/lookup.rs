//! What tasks look up by name: variables and connections. The environment goes before the database, as in Airflow.

use std::fmt;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::{
    redact::{self, NotRestored, redacted, restored},
    secrets::{Keys, Sealed},
    store::{
        connections::{self, ConnectionRow},
        variables,
    },
};

/// How to reach another system: Airflow's connection.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// What it leads to: `postgres`, `http`, ...
    pub conn_type: String,
    /// What it is for.
    pub description: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The user.
    pub login: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The database, or whatever the other system calls it.
    pub schema: Option<String>,
    /// What else is needed: a JSON object.
    pub extra: Option<Value>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conn_type, host, login, port, schema, .. } = self;
        write!(out, "{conn_type}://{login:?}@{host:?}:{port:?}/{schema:?}")
    }
}

impl Connection {
    /// Its extra, without secrets.
    #[must_use]
    pub fn masked_extra(&self) -> Option<Value> {
        self.extra.clone().map(redacted)
    }

    /// What somebody wrote who has seen [`Self::masked_extra`]: what they have not seen they do not overwrite with asterisks.
    ///
    /// # Errors
    /// A secret of it is asterisks, and there is none kept in its place.
    pub fn unmasked_extra(&self, new: Map<String, Value>) -> Result<Value, NotRestored> {
        restored(Value::Object(new), self.extra.as_ref().unwrap_or(&Value::Null))
    }

    /// Opens a connection as it is stored.
    ///
    /// # Errors
    /// Its secrets cannot be opened.
    pub fn open(row: ConnectionRow, keys: &Keys) -> anyhow::Result<Self> {
        let id = row.conn_id.as_str();
        let password = row.sealed_password.as_deref().map(|sealed| keys.open(Sealed::Password(id), sealed));
        let extra = row.sealed_extra.as_deref().map(|sealed| keys.open(Sealed::Extra(id), sealed));
        let (password, extra) = (password.transpose()?, extra.transpose()?);
        let extra = extra.map(|text| serde_json::from_str(&text)).transpose();
        let extra = extra.with_context(|| format!("the extra of the connection {id} is not JSON"))?;
        Ok(Self { password, extra, ..Self::without_secrets(row) })
    }

    /// What of it is no secret, and needs no key.
    #[must_use]
    pub fn without_secrets(row: ConnectionRow) -> Self {
        Self {
            conn_type: row.conn_type,
            description: row.description,
            host: row.host,
            login: row.login,
            password: None,
            port: row.port.and_then(|port| u16::try_from(port).ok()),
            schema: row.schema,
            extra: None,
        }
    }

    /// Seals a connection, to be stored.
    ///
    /// # Errors
    /// It has secrets, and there is no key.
    pub fn seal(&self, conn_id: &str, keys: &Keys) -> anyhow::Result<ConnectionRow> {
        let extra =
            self.extra.as_ref().map(|extra| keys.seal(Sealed::Extra(conn_id), &extra.to_string())).transpose()?;
        let password = self.password.as_ref();
        let password = password.map(|password| keys.seal(Sealed::Password(conn_id), password)).transpose()?;
        Ok(ConnectionRow {
            conn_id: conn_id.to_owned(),
            conn_type: self.conn_type.clone(),
            description: self.description.clone(),
            host: self.host.clone(),
            login: self.login.clone(),
            schema: self.schema.clone(),
            port: self.port.map(i32::from),
            sealed_password: password,
            sealed_extra: extra,
        })
    }

    /// What must not be seen in a log.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        self.password.clone().into_iter().chain(self.extra.iter().flat_map(redact::secrets))
    }
}

/// The value of a variable: from the environment, else from the database.
///
/// # Errors
/// The database is down, or the value cannot be opened.
pub async fn variable(conn: &mut PgConnection, keys: &Keys, key: &str) -> anyhow::Result<Option<String>> {
    if let Some(value) = variable_of_environment(key) {
        return Ok(Some(value));
    }
    let row = variables::list(conn, Some(key)).await?.pop();
    Ok(row.map(|row| keys.open(Sealed::Variable(key), &row.sealed)).transpose()?)
}

/// A connection: from the environment, else from the database.
///
/// # Errors
/// The database is down, its secrets cannot be opened, or the environment holds something else.
pub async fn connection(conn: &mut PgConnection, keys: &Keys, conn_id: &str) -> anyhow::Result<Option<Connection>> {
    if let Some(found) = connection_of_environment(conn_id)? {
        return Ok(Some(found));
    }
    let row = connections::list(conn, Some(conn_id)).await?.pop();
    row.map(|row| Connection::open(row, keys)).transpose()
}

/// `STREAMCOMMERCE_VAR_<NAME>`.
#[must_use]
pub fn variable_of_environment(key: &str) -> Option<String> {
    std::env::var(environment_name("VAR", key)).ok()
}

/// `STREAMCOMMERCE_CONN_<NAME>`, as JSON.
///
/// # Errors
/// It is something else.
pub fn connection_of_environment(conn_id: &str) -> anyhow::Result<Option<Connection>> {
    let name = environment_name("CONN", conn_id);
    let Ok(text) = std::env::var(&name) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{name} is not a connection as JSON"))
}

fn environment_name(kind: &str, name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("STREAMCOMMERCE_{kind}_{name}")
}
