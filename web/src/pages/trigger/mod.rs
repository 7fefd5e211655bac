//! The dialog that triggers a DAG: a field for each of its params, or its conf as JSON.

mod field;

use std::collections::HashMap;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use orchestrator::{
    commands::{self, By, ManualRun, Refused},
    dag::{Graph, Params},
    engine::Graphs,
    ids::{DagId, RunId},
    store::pages::{dags, runs},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;

use self::field::{Asked, Kind};
use super::{
    links,
    page::{Frame, Page, PageError, PageResult},
    told::{self, Deed},
};
use crate::App;

#[derive(Template)]
#[template(path = "trigger.html")]
pub(crate) struct TriggerPage {
    dag_id: DagId,
    link: String,
    is_paused: bool,
    fields: Vec<Field>,
    refused: Option<String>,
    run_id: String,
    logical_date: String,
    note: String,
    conf: String,
    /// Whether a paused DAG is unpaused with it.
    unpauses: bool,
}

impl Frame for TriggerPage {
    const SECTION: &'static str = "dags";
}

/// A param that the form asks for.
struct Field {
    name: String,
    title: String,
    description: Option<String>,
    asked: Asked,
    value: String,
}

impl Field {
    /// What can be chosen, each with whether it is.
    fn options(&self, values: &[Value]) -> Vec<(String, bool)> {
        let option = |value| {
            let text = self.asked.written(Some(value));
            let is_chosen = text == self.value;
            (text, is_chosen)
        };
        values.iter().map(option).collect()
    }
}

/// What the fields of the form begin with that are params.
const PARAM: &str = "param.";

/// The tick that unpauses the DAG.
const UNPAUSE: &str = "unpause";

/// What the dialog begins with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Begun {
    /// The conf of this run.
    like: String,
}

pub(crate) async fn ask(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    Query(Begun { like }): Query<Begun>,
) -> PageResult<TriggerPage> {
    let given = match like.as_str() {
        "" => HashMap::new(),
        run => as_in(&mut *app.pool.acquire().await?, &app.graphs, &dag_id, &RunId::from(run)).await?,
    };
    page(&app, dag_id, &given, None).await
}

/// What a form would have said for the conf of a run.
async fn as_in(
    conn: &mut PgConnection,
    graphs: &Graphs,
    dag_id: &DagId,
    run_id: &RunId,
) -> Result<HashMap<String, String>, PageError> {
    let run = runs::get(conn, dag_id, run_id).await?;
    let run = run.ok_or_else(|| Refused::NoRun(dag_id.clone(), run_id.clone()))?;
    let graph = graphs.get(conn, run.version).await?;
    let Some(params) = graph.params() else {
        return Ok([("conf".to_owned(), serde_json::to_string_pretty(&run.conf).unwrap_or_default())].into());
    };
    let said = params.with_conf(&run.conf);
    let fields = params.schema()["properties"].as_object().into_iter().flatten();
    let field = |(name, schema): (&String, &Value)| {
        (format!("{PARAM}{name}"), Asked::of(params.schema(), schema).written(said.get(name)))
    };
    Ok(fields.map(field).collect())
}

async fn page(
    app: &App,
    dag_id: DagId,
    given: &HashMap<String, String>,
    refused: Option<String>,
) -> PageResult<TriggerPage> {
    let mut conn = app.pool.acquire().await?;
    let dag = dags::get(&mut conn, &dag_id).await?.ok_or(Refused::NoDag(dag_id))?;
    let graph = app.graphs.get(&mut conn, dag.version).await?;
    let text = |name: &str| given.get(name).cloned().unwrap_or_default();
    Ok(Page(TriggerPage {
        link: links::dag(&dag.dag_id),
        is_paused: dag.is_paused,
        fields: graph.params().map(|params| fields(params, given)).unwrap_or_default(),
        refused,
        run_id: text("run_id"),
        logical_date: text("logical_date"),
        note: text("note"),
        unpauses: given.contains_key(UNPAUSE),
        // Beside fields for the params it is only there for who fills it.
        conf: if given.contains_key("conf") || graph.params().is_some() { text("conf") } else { "{}".to_owned() },
        dag_id: dag.dag_id,
    }))
}

fn fields(params: &Params, given: &HashMap<String, String>) -> Vec<Field> {
    let Some(properties) = params.schema()["properties"].as_object() else { return Vec::new() };
    let field = |(name, schema): (&String, &Value)| {
        let asked = Asked::of(params.schema(), schema);
        let default = params.defaults().get(name).or_else(|| schema.get("default"));
        let value = match given.get(&format!("{PARAM}{name}")) {
            Some(value) => value.clone(),
            None if !given.is_empty() && asked.kind == Kind::Flag => "false".to_owned(),
            None => asked.written(default),
        };
        let title = schema["title"].as_str().unwrap_or(name).to_owned();
        let description = schema["description"].as_str().map(ToOwned::to_owned);
        Field { name: name.clone(), title, description, asked, value }
    };
    properties.iter().map(field).collect()
}

pub(crate) async fn trigger(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    Form(given): Form<HashMap<String, String>>,
) -> Result<Response, PageError> {
    let mut conn = app.pool.acquire().await?;
    let dag = dags::get(&mut conn, &dag_id).await?.ok_or_else(|| Refused::NoDag(dag_id.clone()))?;
    let graph = app.graphs.get(&mut conn, dag.version).await?;
    let made = match run_of(&graph, &given) {
        Ok(run) => commands::trigger(&mut conn, &app.graphs, &dag_id, run, &by).await,
        Err(text) => Err(Refused::Invalid(text)),
    };
    match made {
        Ok(run) => {
            if dag.is_paused && given.contains_key(UNPAUSE) {
                commands::set_paused(&mut conn, &app.graphs, &dag_id, false, &by).await?;
            }
            drop(conn);
            app.wake.everybody();
            Ok(told::after(&links::run(&dag_id, &run), Deed::Triggered, "").into_response())
        }
        Err(Refused::Failed(error)) => Err(error.into()),
        // What was typed is still there.
        Err(refused) => {
            drop(conn);
            Ok(page(&app, dag_id, &given, Some(refused.to_string())).await?.into_response())
        }
    }
}

fn run_of(graph: &Graph, given: &HashMap<String, String>) -> Result<ManualRun, String> {
    let text = |name: &str| given.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let logical_date = text("logical_date").map(|text| instant(text).ok_or(format!("{text:?} is no date")));
    let conf = match text("conf") {
        Some(text) => serde_json::from_str(text).map_err(|error| format!("conf is not JSON: {error}"))?,
        None => Value::Object(params_of(graph, given)?),
    };
    Ok(ManualRun {
        run_id: text("run_id").map(RunId::from),
        logical_date: logical_date.transpose()?,
        note: text("note").map(ToOwned::to_owned),
        conf: Some(conf),
        ..ManualRun::default()
    })
}

fn params_of(graph: &Graph, given: &HashMap<String, String>) -> Result<Map<String, Value>, String> {
    let mut conf = Map::new();
    // A form without any field is a button: everything is as its author said.
    if !given.keys().any(|name| name.starts_with(PARAM)) {
        return Ok(conf);
    }
    let root = graph.params().map_or(&Value::Null, Params::schema);
    for (name, schema) in root["properties"].as_object().into_iter().flatten() {
        let value = Asked::of(root, schema).read(given.get(&format!("{PARAM}{name}")).map(String::as_str));
        if let Some(value) = value.map_err(|error| format!("{name}: {error}"))? {
            conf.insert(name.clone(), value);
        }
    }
    Ok(conf)
}

/// A date and time as a browser's field says it, in UTC, or as ISO 8601 says it.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let zoned = text.parse::<DateTime<Utc>>().ok();
    zoned.or_else(|| Some(format!("{text}:00").parse::<chrono::NaiveDateTime>().ok()?.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_a_browser_writes_it() {
        assert_eq!(instant("2026-01-02T03:04").map(|at| at.to_rfc3339()).as_deref(), Some("2026-01-02T03:04:00+00:00"));
        assert!(instant("2026-01-02T03:04:05+02:00").is_some() && instant("tomorrow").is_none());
    }
}
