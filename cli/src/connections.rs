//! `connections`.

use std::io::Read;

use anyhow::Context as _;
use orchestrator::{lookup::Connection, secrets::Keys, store::connections};
use serde_json::{Map, Value, json};

use crate::{
    Exit,
    api::{Api, Verb, part},
    arguments::{AddConnection, ConnectionsCommand, OutputFormat},
    output::{self, say},
    transfer,
};

const COLUMNS: [(&str, &str); 7] = [
    ("conn_id", "connection_id"),
    ("type", "conn_type"),
    ("host", "host"),
    ("port", "port"),
    ("login", "login"),
    ("schema", "schema"),
    ("description", "description"),
];

pub(crate) async fn dispatch(api: &Api, command: ConnectionsCommand, format: OutputFormat) -> anyhow::Result<Exit> {
    match command {
        ConnectionsCommand::List => {
            output::rows(format, &COLUMNS, &api.all("/connections", "connections", usize::MAX).await?)?;
        }
        ConnectionsCommand::Get { conn_id } => {
            output::one(format, &api.get(&format!("/connections/{}", part(&conn_id))).await?)?;
        }
        ConnectionsCommand::Add(new) => {
            let conn_id = new.conn_id.clone();
            api.send(Verb::Post, "/connections", Some(typed(*new)?)).await?;
            say(&format!("the connection {conn_id} is made"));
        }
        ConnectionsCommand::Delete { conn_id } => {
            api.send(Verb::Delete, &format!("/connections/{}", part(&conn_id)), None).await?;
            say(&format!("the connection {conn_id} is deleted"));
        }
        ConnectionsCommand::Import { file } => {
            let connections = transfer::read(&file)?.into_iter().map(|(id, connection)| of_file(&id, &connection));
            let connections = connections.collect::<anyhow::Result<_>>()?;
            return transfer::import(api, "/connections", "connections", connections).await;
        }
        ConnectionsCommand::Export { file } => {
            let mut conn = api.database()?.acquire().await?;
            let keys = Keys::from_env()?;
            let mut all = Map::new();
            for row in connections::list(&mut conn, None).await? {
                let id = row.conn_id.clone();
                all.insert(id, to_file(&Connection::open(row, &keys)?));
            }
            transfer::write(&file, "connections", all)?;
        }
    }
    Ok(Exit::Done)
}

fn typed(new: AddConnection) -> anyhow::Result<Value> {
    let mut password = None;
    if new.password_stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the password")?;
        password = Some(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    Ok(json!({
        "connection_id": new.conn_id, "conn_type": new.conn_type, "description": new.conn_description,
        "host": new.conn_host, "login": new.conn_login, "password": password, "port": new.conn_port,
        "schema": new.conn_schema, "extra": new.conn_extra,
    }))
}

/// The fields of a connection in Airflow's files.
const FIELDS: [&str; 8] = ["conn_type", "description", "login", "password", "host", "port", "schema", "extra"];

fn of_file(id: &str, connection: &Value) -> anyhow::Result<Value> {
    let text = "is a URI: export it from Airflow as JSON (airflow connections export --file-format json)";
    anyhow::ensure!(connection.is_object(), "the connection {id} {text}");
    let field = |name: &&str| (name.to_string(), connection[*name].clone());
    let mut fields: Map<_, _> = FIELDS.iter().map(field).collect();
    // An object in a file that somebody wrote by hand; Airflow writes a text.
    if fields["extra"].is_object() {
        fields["extra"] = json!(fields["extra"].to_string());
    }
    fields.insert("connection_id".to_owned(), json!(id));
    Ok(Value::Object(fields))
}

fn to_file(connection: &Connection) -> Value {
    json!({
        "conn_type": connection.conn_type, "description": connection.description, "login": connection.login,
        "password": connection.password, "host": connection.host, "port": connection.port,
        "schema": connection.schema, "extra": connection.extra.as_ref().map(Value::to_string),
    })
}
