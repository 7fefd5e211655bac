//! The connections. Secrets are never shown, and stay as they are if nobody types others.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    http::StatusCode,
    response::Redirect,
};
use orchestrator::{
    commands::{self, By, Refused},
    lookup::Connection,
    store::{
        connections,
        pages::{
            Page as Part,
            select::{Selection, Test},
            settings::{self, ConnectionColumn},
        },
    },
};
use serde::Deserialize;

use super::{
    links,
    page::{Frame, Page, PageError, PageResult, filled},
    pager::Pager,
    told::{self, Deed},
};
use crate::App;

/// Connections on a page.
const ROWS: i64 = 100;

#[derive(Template)]
#[template(path = "connections.html")]
pub(crate) struct ConnectionsPage {
    rows: Vec<Row>,
    wanted: Wanted,
    pager: Pager,
}

impl Frame for ConnectionsPage {
    const SECTION: &'static str = "connections";
}

struct Row {
    id: String,
    link: String,
    connection: Connection,
    /// Its extra without secrets.
    extra: String,
    /// Why its secrets cannot be opened.
    lost: Option<String>,
}

impl Row {
    /// Where it leads, in one word.
    fn target(&self) -> String {
        let Connection { host, port, schema, .. } = &self.connection;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let schema = schema.as_ref().map(|schema| format!("/{schema}")).unwrap_or_default();
        format!("{}{port}{schema}", host.as_deref().unwrap_or_default())
    }
}

/// What the list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    q: String,
    offset: i64,
}

pub(crate) async fn show(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageResult<ConnectionsPage> {
    let mut filter = Selection::default();
    if !wanted.q.is_empty() {
        filter = filter.with(ConnectionColumn::ConnId, Test::Contains(wanted.q.clone()));
    }
    let part = Part { limit: ROWS, offset: wanted.offset.max(0) };
    let listed = settings::connections(&mut *app.pool.acquire().await?, &filter, part).await?;
    let open = |row: connections::ConnectionRow| {
        let id = row.conn_id.clone();
        let opened = Connection::open(row.clone(), &app.keys);
        let lost = opened.as_ref().err().map(|error| format!("{error:#}"));
        let connection = opened.unwrap_or_else(|_| Connection::without_secrets(row));
        let extra = connection.masked_extra().map(|extra| extra.to_string()).unwrap_or_default();
        Row { link: format!("/connections/{}", links::part(&id)), id, connection, extra, lost }
    };
    let rows = listed.rows.into_iter().map(open).collect();
    let pager = Pager::new(part, listed.total, &[("q", &wanted.q)]);
    Ok(Page(ConnectionsPage { rows, wanted, pager }))
}

/// What a form says of a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Said {
    connection_id: String,
    conn_type: String,
    description: String,
    host: String,
    port: String,
    login: String,
    password: String,
    schema: String,
    extra: String,
}

impl Said {
    /// The connection, which is `now` this one.
    fn connection(&self, now: Connection) -> Result<Connection, PageError> {
        let bad = |what: &str| PageError::new(StatusCode::BAD_REQUEST, what);
        let text = |text: &str| filled(text).map(ToOwned::to_owned);
        let port = filled(&self.port).map(|port| port.trim().parse().map_err(|_| bad("a port is from 0 to 65535")));
        let extra = filled(&self.extra).map(|extra| {
            serde_json::from_str(extra).map_err(|_| bad("the extra of a connection must be a JSON object"))
        });
        let extra = extra.transpose()?.map(|new| now.unmasked_extra(new)).transpose();
        let extra = extra.map_err(|lost| bad(&lost.to_string()))?;
        Ok(Connection {
            conn_type: self.conn_type.clone(),
            description: text(&self.description),
            host: text(&self.host),
            port: port.transpose()?,
            login: text(&self.login),
            password: text(&self.password).or(now.password),
            schema: text(&self.schema),
            extra,
        })
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Form(said): Form<Said>,
) -> Result<Redirect, PageError> {
    let new = said.connection(Connection::default())?;
    commands::create_connection(&mut *app.pool.acquire().await?, &app.keys, &said.connection_id, &new, &by).await?;
    Ok(told::after("/connections", Deed::Made, &said.connection_id))
}

pub(crate) async fn change(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(id): Path<String>,
    Form(said): Form<Said>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    let now = connections::list(&mut conn, Some(&id)).await?.pop().ok_or_else(|| Refused::NoConnection(id.clone()))?;
    let new = said.connection(Connection::open(now, &app.keys)?)?;
    commands::update_connection(&mut conn, &app.keys, &id, &new, &by).await?;
    Ok(told::after("/connections", Deed::Saved, &id))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(id): Path<String>,
) -> Result<Redirect, PageError> {
    commands::delete_connection(&mut *app.pool.acquire().await?, &id, &by).await?;
    Ok(told::after("/connections", Deed::Deleted, &id))
}
