//! Our document: Airflow's, without what is not served, and our own routes.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{routes::Served, unserved};

const AIRFLOW: &str = include_str!("../../openapi/airflow.json");
const OWN: &str = include_str!("../../openapi/own.json");

const DESCRIPTION: &str = "Airflow 3.3.2's public API below `/api/v2`, as far as it is served here, and what is ours alone. \
    Sign in with `POST /auth/token`, or make a personal access token; send either as `Authorization: Bearer …`.";

/// The contract: Airflow's document, with our own routes.
///
/// # Errors
/// One of the files is not JSON.
pub(super) fn contract() -> serde_json::Result<Value> {
    let mut contract: Value = serde_json::from_str(AIRFLOW)?;
    let mut own: Value = serde_json::from_str(OWN)?;
    if let (Some(paths), Some(own)) = (contract["paths"].as_object_mut(), own["paths"].as_object_mut()) {
        paths.append(own);
    }
    Ok(contract)
}

/// What of the contract is served.
pub(super) fn of(mut contract: Value, served: &Served) -> Value {
    if let Some(paths) = contract["paths"].as_object_mut() {
        paths.retain(|path, _| served.contains_key(path));
        for (path, operations) in paths.iter_mut() {
            let Some(operations) = operations.as_object_mut() else { continue };
            operations.retain(|method, _| {
                served[path].contains(method) && !unserved::OPERATIONS.contains(&(method.as_str(), path.as_str()))
            });
            operations.values_mut().for_each(|operation| amend(path, operation));
        }
    }
    contract["info"] =
        json!({ "title": "StreamCommerce", "description": DESCRIPTION, "version": env!("CARGO_PKG_VERSION") });
    mend(&mut contract);
    keep_referenced(&mut contract);
    contract
}

/// What is not as in Airflow's document.
fn mend(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    // Whatever is the one is the other as well, so that nothing is exactly one of them.
    if let Some(items) = schemas.pointer_mut("/ClearTaskInstanceCollectionResponse/properties/task_instances/items") {
        *items = json!({ "anyOf": items["oneOf"].take() });
    }
    // A clear here takes every task of the run.
    for (schema, absent) in [
        ("DAGRunClearBody", &["only_new"][..]),
        ("BulkDAGRunClearBody", &["only_new", "partition_key", "partition_date_start", "partition_date_end"]),
    ] {
        if let Some(fields) = schemas[schema]["properties"].as_object_mut() {
            fields.retain(|name, _| !absent.contains(&name.as_str()));
        }
    }
    // Its address is relative, which a client does not understand; both schemes are the same header.
    if let Some(schemes) = document["components"]["securitySchemes"].as_object_mut() {
        schemes.remove("OAuth2PasswordBearer");
    }
}

fn amend(path: &str, operation: &mut Value) {
    let unserved = unserved::ALL.iter().find(|unserved| unserved.path == path).map_or(&[][..], |list| list.names);
    if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
        parameters.retain(|parameter| !unserved.iter().any(|name| parameter["name"] == *name));
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let answer = |description: &str, schema: &Value| json!({ "description": description, "content": { "application/json": { "schema": schema } } });
    let refused = json!({ "$ref": "#/components/schemas/HTTPExceptionResponse" });
    for (status, description) in EVERYWHERE {
        responses.entry(status).or_insert_with(|| answer(description, &refused));
    }
    // Airflow itself answers some of these with a text in place of a list.
    let faults = json!({ "anyOf": [{ "$ref": "#/components/schemas/HTTPValidationError" }, refused] });
    responses.insert("422".to_owned(), answer("Validation Error", &faults));
    // A redirection has no body.
    if let Some(redirection) = responses.get_mut("307").and_then(Value::as_object_mut) {
        redirection.remove("content");
    }
    if let Some(schemes) = operation.get_mut("security").and_then(Value::as_array_mut) {
        schemes.retain(|scheme| scheme.get("HTTPBearer").is_some());
    }
}

/// What every operation may answer, which Airflow's document leaves out here and there.
const EVERYWHERE: [(&str, &str); 4] = [
    ("400", "Bad Request"),
    ("404", "Not Found"),
    ("406", "Not Acceptable"),
    ("503", "The database does not answer; try again in a moment"),
];

/// Forgets the schemas that nothing refers to any more.
fn keep_referenced(document: &mut Value) {
    let mut kept = BTreeSet::new();
    let mut open = references(&document["paths"]);
    while let Some(name) = open.pop() {
        if kept.insert(name.clone()) {
            open.extend(references(&document["components"]["schemas"][&name]));
        }
    }
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.retain(|name, _| kept.contains(name));
    }
}

/// The names of the schemas that a part of a document refers to.
fn references(part: &Value) -> Vec<String> {
    let of_object = |fields: &Map<String, Value>| {
        let own = fields.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
        own.map(str::to_owned).into_iter().chain(fields.values().flat_map(references)).collect()
    };
    match part {
        Value::Object(fields) => of_object(fields),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
