//! The dialog that triggers a DAG: a field for each of its params, or its conf as JSON.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use orchestrator::{
    commands::{self, By, ManualRun, Refused},
    dag::{Graph, Params},
    ids::{DagId, RunId},
    store::pages::dags,
};
use serde_json::{Map, Value};

use super::{
    links,
    page::{Frame, Page, PageError, PageResult},
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
}

impl Frame for TriggerPage {
    const SECTION: &'static str = "dags";
}

/// A param that the form asks for.
struct Field {
    name: String,
    title: String,
    description: Option<String>,
    kind: Kind,
    value: String,
}

/// How a param is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Number,
    /// Whole numbers only.
    Integer,
    Flag,
    OneOf(Vec<String>),
    Json,
}

/// What the fields of the form begin with that are params.
const PARAM: &str = "param.";

pub(crate) async fn ask(State(app): State<App>, Path(dag_id): Path<DagId>) -> PageResult<TriggerPage> {
    page(&app, dag_id, &HashMap::new(), None).await
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
        conf: if given.contains_key("conf") { text("conf") } else { "{}".to_owned() },
        dag_id: dag.dag_id,
    }))
}

fn fields(params: &Params, given: &HashMap<String, String>) -> Vec<Field> {
    let Some(properties) = params.schema()["properties"].as_object() else { return Vec::new() };
    let field = |(name, schema): (&String, &Value)| {
        let kind = kind(schema);
        let default = params.defaults().get(name).or_else(|| schema.get("default"));
        let value = match given.get(&format!("{PARAM}{name}")) {
            Some(value) => value.clone(),
            None if !given.is_empty() && kind == Kind::Flag => "false".to_owned(),
            None => written(default),
        };
        let title = schema["title"].as_str().unwrap_or(name).to_owned();
        let description = schema["description"].as_str().map(ToOwned::to_owned);
        Field { name: name.clone(), title, description, kind, value }
    };
    properties.iter().map(field).collect()
}

fn kind(schema: &Value) -> Kind {
    if let Some(values) = schema["enum"].as_array() {
        return Kind::OneOf(values.iter().map(|value| written(Some(value))).collect());
    }
    match schema["type"].as_str() {
        Some("string") => Kind::Text,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Flag,
        _ => Kind::Json,
    }
}

/// A value as it stands in a field: a text as it is, all else as JSON.
fn written(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// What a field says. What is empty is not given.
fn read(kind: &Kind, schema: &Value, text: Option<&String>) -> Result<Option<Value>, serde_json::Error> {
    let text = text.map(String::as_str).unwrap_or_default();
    match kind {
        Kind::Flag => Ok(Some(Value::Bool(text == "true"))),
        _ if text.is_empty() => Ok(None),
        Kind::Text => Ok(Some(Value::String(text.to_owned()))),
        Kind::OneOf(_) => {
            let values = schema["enum"].as_array().into_iter().flatten();
            Ok(values.into_iter().find(|value| written(Some(value)) == text).cloned())
        }
        Kind::Number | Kind::Integer | Kind::Json => serde_json::from_str(text).map(Some),
    }
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
    drop(conn);
    match made {
        Ok(run) => {
            app.wake.everybody();
            Ok(Redirect::to(&links::run(&dag_id, &run)).into_response())
        }
        Err(Refused::Failed(error)) => Err(error.into()),
        // What was typed is still there.
        Err(refused) => Ok(page(&app, dag_id, &given, Some(refused.to_string())).await?.into_response()),
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
    let properties = graph.params().and_then(|params| params.schema()["properties"].as_object());
    for (name, schema) in properties.into_iter().flatten() {
        let value = read(&kind(schema), schema, given.get(&format!("{PARAM}{name}")));
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_gives_a_value_of_the_type_of_its_param() {
        let read = |schema: Value, text: &str| read(&kind(&schema), &schema, Some(&text.to_owned())).ok().flatten();
        assert_eq!(read(json!({ "type": "string" }), "a"), Some(json!("a")));
        assert_eq!(read(json!({ "type": "integer" }), "5"), Some(json!(5)));
        assert_eq!(read(json!({ "type": "integer" }), "five"), None);
        assert_eq!(read(json!({ "type": "boolean" }), "true"), Some(json!(true)));
        assert_eq!(read(json!({ "type": "array" }), "[1]"), Some(json!([1])));
        assert_eq!(read(json!({ "enum": ["a", 2] }), "2"), Some(json!(2)));
        assert_eq!(read(json!({ "type": "string" }), ""), None, "what is empty is not given");
    }

    #[test]
    fn a_date_is_read_as_a_browser_writes_it() {
        assert_eq!(instant("2026-01-02T03:04").map(|at| at.to_rfc3339()).as_deref(), Some("2026-01-02T03:04:00+00:00"));
        assert!(instant("2026-01-02T03:04:05+02:00").is_some() && instant("tomorrow").is_none());
    }
}
