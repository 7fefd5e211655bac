//! The document as a page.

use askama::Template;
use axum::Extension;
use serde_json::Value;

use super::Document;
use crate::pages::{Frame, Page, PageResult};

#[derive(Template)]
#[template(path = "docs.html")]
pub(super) struct DocsPage {
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

/// The operations of a kind.
struct Group {
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    method: String,
    path: String,
    summary: String,
    description: String,
    parameters: Vec<Field>,
    body: Option<String>,
    answers: Vec<Answer>,
}

/// A parameter, or a field of a schema.
struct Field {
    name: String,
    kind: String,
    is_required: bool,
    description: String,
}

struct Answer {
    status: String,
    description: String,
    kind: Option<String>,
}

struct Schema {
    name: String,
    description: String,
    fields: Vec<Field>,
    values: Vec<String>,
}

impl Frame for DocsPage {
    const SECTION: &'static str = "api";
}

pub(super) async fn show(Extension(document): Extension<Document>) -> PageResult<DocsPage> {
    let document = document.get().await?;
    let schemas = entries(&document["components"]["schemas"]).map(|(name, schema)| Schema {
        name: name.clone(),
        description: text(&schema["description"]),
        fields: fields(schema),
        values: items(&schema["enum"]).map(text).collect(),
    });
    Ok(Page(DocsPage { groups: groups(&document["paths"]), schemas: schemas.collect() }))
}

fn groups(paths: &Value) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (path, operations) in entries(paths) {
        for (method, operation) in entries(operations) {
            let name = text(&operation["tags"][0]);
            let operation = read(path, method, operation);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.operations.push(operation),
                None => groups.push(Group { name, operations: vec![operation] }),
            }
        }
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

fn read(path: &str, method: &str, operation: &Value) -> Operation {
    let parameters = items(&operation["parameters"]).map(|parameter| Field {
        name: text(&parameter["name"]),
        kind: kind(&parameter["schema"]),
        is_required: parameter["required"] == true,
        description: text(&parameter["description"]),
    });
    let content = |part: &Value| entries(&part["content"]).next().map(|(_, content)| kind(&content["schema"]));
    let answers = entries(&operation["responses"]).map(|(status, answer)| Answer {
        status: status.clone(),
        description: text(&answer["description"]),
        kind: content(answer),
    });
    Operation {
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        description: text(&operation["description"]),
        parameters: parameters.collect(),
        body: content(&operation["requestBody"]),
        answers: answers.collect(),
    }
}

fn fields(schema: &Value) -> Vec<Field> {
    let field = |(name, field): (&String, &Value)| Field {
        name: name.clone(),
        kind: kind(field),
        is_required: items(&schema["required"]).any(|required| required == name),
        description: text(&field["description"]),
    };
    entries(&schema["properties"]).map(field).collect()
}

/// The type that a schema describes, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return name.to_owned();
    }
    let of_many = |many: &Value| items(many).map(kind).collect::<Vec<_>>().join(" | ");
    match schema["type"].as_str() {
        _ if schema["enum"].is_array() => items(&schema["enum"]).map(text).collect::<Vec<_>>().join(" | "),
        _ if schema["anyOf"].is_array() => of_many(&schema["anyOf"]),
        _ if schema["oneOf"].is_array() => of_many(&schema["oneOf"]),
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some("string") => text(if schema["format"].is_string() { &schema["format"] } else { &schema["type"] }),
        Some(name) => name.to_owned(),
        None => "anything".to_owned(),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}
