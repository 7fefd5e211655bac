//! Variables and connections: make, change, delete. What is secret is sealed before it reaches the database, and never
//! stands in the event log.

use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::{By, Refused};
use crate::{
    lookup::Connection,
    secrets::{Keys, Sealed},
    store::{
        connections, events,
        variables::{self, VariableRow},
    },
};

/// Airflow's limit for the names of variables.
const VARIABLE_LENGTH_MAX: usize = 250;

/// Airflow's limit for the names of connections.
const CONNECTION_LENGTH_MAX: usize = 200;

/// What a variable is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewVariable<'v> {
    /// Its name.
    pub key: &'v str,
    /// Its value.
    pub value: &'v str,
    /// What it is for.
    pub description: Option<&'v str>,
}

impl NewVariable<'_> {
    fn seal(&self, keys: &Keys) -> Result<VariableRow, Refused> {
        if self.key.is_empty() || self.key.len() > VARIABLE_LENGTH_MAX {
            let text = format!("a variable needs a name of at most {VARIABLE_LENGTH_MAX} characters");
            return Err(Refused::Invalid(text));
        }
        let sealed = keys.seal(Sealed::Variable(self.key), self.value).map_err(no_key)?;
        Ok(VariableRow { key: self.key.to_owned(), sealed, description: self.description.map(ToOwned::to_owned) })
    }
}

fn no_key(error: impl std::fmt::Display) -> Refused {
    Refused::Invalid(error.to_string())
}

/// Makes a variable.
///
/// # Errors
/// [`Refused`].
pub async fn create_variable(
    conn: &mut PgConnection,
    keys: &Keys,
    new: NewVariable<'_>,
    by: &By,
) -> Result<(), Refused> {
    let row = new.seal(keys)?;
    let mut tx = conn.begin().await?;
    if !variables::insert_if_new(&mut tx, &row).await? {
        return Err(Refused::VariableExists(row.key));
    }
    write_down(&mut tx, "post_variable", "variable", new.key, by).await?;
    tx.commit().await?;
    Ok(())
}

/// Changes a variable.
///
/// # Errors
/// [`Refused`].
pub async fn update_variable(
    conn: &mut PgConnection,
    keys: &Keys,
    new: NewVariable<'_>,
    by: &By,
) -> Result<(), Refused> {
    let row = new.seal(keys)?;
    let mut tx = conn.begin().await?;
    if !variables::update(&mut tx, &row).await? {
        return Err(Refused::NoVariable(row.key));
    }
    write_down(&mut tx, "patch_variable", "variable", new.key, by).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes a variable.
///
/// # Errors
/// [`Refused`].
pub async fn delete_variable(conn: &mut PgConnection, key: &str, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    if !variables::delete(&mut tx, key).await? {
        return Err(Refused::NoVariable(key.to_owned()));
    }
    write_down(&mut tx, "delete_variable", "variable", key, by).await?;
    tx.commit().await?;
    Ok(())
}

fn check_connection(conn_id: &str, new: &Connection) -> Result<(), Refused> {
    let is_valid = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
    if conn_id.is_empty() || conn_id.len() > CONNECTION_LENGTH_MAX || !conn_id.chars().all(is_valid) {
        return Err(Refused::Invalid(format!(
            "{conn_id:?} cannot be the id of a connection: use letters, digits, `_`, `-` and `.`, at most \
             {CONNECTION_LENGTH_MAX} of them"
        )));
    }
    if new.extra.as_ref().is_some_and(|extra| !extra.is_object()) {
        return Err(Refused::Invalid("the extra of a connection must be a JSON object".to_owned()));
    }
    Ok(())
}

/// Makes a connection.
///
/// # Errors
/// [`Refused`].
pub async fn create_connection(
    conn: &mut PgConnection,
    keys: &Keys,
    conn_id: &str,
    new: &Connection,
    by: &By,
) -> Result<(), Refused> {
    check_connection(conn_id, new)?;
    let row = new.seal(conn_id, keys).map_err(no_key)?;
    let mut tx = conn.begin().await?;
    if !connections::insert_if_new(&mut tx, &row).await? {
        return Err(Refused::ConnectionExists(row.conn_id));
    }
    write_down(&mut tx, "post_connection", "connection", conn_id, by).await?;
    tx.commit().await?;
    Ok(())
}

/// Changes a connection.
///
/// # Errors
/// [`Refused`].
pub async fn update_connection(
    conn: &mut PgConnection,
    keys: &Keys,
    conn_id: &str,
    new: &Connection,
    by: &By,
) -> Result<(), Refused> {
    check_connection(conn_id, new)?;
    let row = new.seal(conn_id, keys).map_err(no_key)?;
    let mut tx = conn.begin().await?;
    if !connections::update(&mut tx, &row).await? {
        return Err(Refused::NoConnection(row.conn_id));
    }
    write_down(&mut tx, "patch_connection", "connection", conn_id, by).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes a connection.
///
/// # Errors
/// [`Refused`].
pub async fn delete_connection(conn: &mut PgConnection, conn_id: &str, by: &By) -> Result<(), Refused> {
    let mut tx = conn.begin().await?;
    if !connections::delete(&mut tx, conn_id).await? {
        return Err(Refused::NoConnection(conn_id.to_owned()));
    }
    write_down(&mut tx, "delete_connection", "connection", conn_id, by).await?;
    tx.commit().await?;
    Ok(())
}

async fn write_down(tx: &mut PgConnection, event: &str, what: &str, name: &str, by: &By) -> sqlx::Result<()> {
    let event = events::Event { event, dag_id: None, run_id: None, by, extra: json!({ what: name }) };
    events::append(tx, &event).await
}
