//! Terraform and compose files cannot be run here; they are parsed, and held against what can be known offline.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use local::python::{self, Packages};
use serde_json::Value;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn terraform() -> Vec<(PathBuf, String)> {
    let files = std::fs::read_dir(checkout().join("terraform")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "tf"));
    files.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// Every `<prefix>.a.b` that a text mentions, without the prefix, as far as `depth` names.
fn references(text: &str, prefix: &str, depth: usize) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = text.match_indices(prefix).filter(|(at, _)| !text[..*at].ends_with(|c: char| is_name(c) || c == '.'));
    let names = starts.map(|(at, _)| {
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c: char| !is_name(c) && c != '.').unwrap_or(rest.len());
        rest[..end].split('.').take(depth).collect::<Vec<_>>().join(".")
    });
    names.collect()
}

#[test]
fn terraform_is_whole() {
    let (mut variables, mut resources, mut used, mut referred) =
        <(BTreeSet<_>, BTreeSet<_>, BTreeSet<_>, BTreeSet<_>)>::default();
    for (path, text) in terraform() {
        let body = hcl::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for block in body.blocks() {
            let labels: Vec<_> = block.labels().iter().map(|label| label.as_str().to_owned()).collect();
            match block.identifier() {
                "variable" => variables.insert(labels[0].clone()),
                "resource" => resources.insert(labels.join(".")),
                _ => false,
            };
        }
        used.extend(references(&text, "var.", 1));
        referred.extend(
            references(&text, "google_", 2)
                .into_iter()
                .filter(|name| name.contains('.'))
                .map(|name| format!("google_{name}")),
        );
    }
    assert!(!resources.is_empty());
    assert_eq!(used, variables, "variables that are used and variables that are declared");
    let unknown: Vec<_> = referred.difference(&resources).collect();
    assert!(unknown.is_empty(), "no such resources: {unknown:?}");
}

#[test]
fn terraform_opens_nothing_and_keeps_the_commit_log() {
    let all: String = terraform().into_iter().map(|(_, text)| text).collect();
    for forbidden in [
        "STREAMCOMMERCE_UNAUTHENTICATED",
        "0.0.0.0/0",
        "google_service_account_key",
        "allUsers",
        "force_destroy",
        "google_compute_firewall",
    ] {
        assert!(!all.contains(forbidden), "{forbidden}");
    }
    let prefixes: Vec<_> = all.lines().filter(|line| line.contains("matches_prefix")).map(str::trim).collect();
    let known = ["_staging/", "_dlq/", "_xcom/"];
    assert_eq!(prefixes.len(), known.len());
    assert!(prefixes.iter().all(|line| known.iter().any(|prefix| line.contains(prefix))), "{prefixes:?}");
    let rules = all.matches("lifecycle_rule {").count() + all.matches("dynamic \"lifecycle_rule\"").count();
    assert_eq!(rules, known.len(), "every rule names what it deletes");
}

/// The wheel whose only use here is the schema of compose files that it brings.
const COMPOSE_WHEEL: &str = "docker-compose==1.29.2";

#[tokio::test]
async fn compose_follows_its_schema_and_is_published_on_loopback_only() {
    let compose = compose();
    let schema: Value = serde_json::from_slice(&std::fs::read(compose_schema().await).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<_> =
        schema.iter_errors(&compose).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let mut misspelt = compose.clone();
    misspelt["services"]["worker"]["comand"] = "x".into();
    assert!(!schema.is_valid(&misspelt), "the schema lets everything pass");

    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        let needed = service["depends_on"].as_object().into_iter().flatten();
        needed.for_each(|(needed, _)| assert!(services.contains_key(needed), "{name} depends on {needed}"));
        assert!(service["environment"]["STREAMCOMMERCE_UNAUTHENTICATED"].is_null(), "{name}: people sign in");
        let mut ports = service["ports"].as_array().into_iter().flatten();
        assert!(ports.all(|port| port.as_str().unwrap().starts_with("127.0.0.1:")), "{name}: {service}");
        if let Some(file) = service["build"]["dockerfile"].as_str() {
            let dockerfile = std::fs::read_to_string(checkout().join(file)).unwrap();
            assert!(dockerfile.contains("\nUSER ") && dockerfile.matches("\nFROM ").count() >= 1, "{file}");
        }
    }
}

fn compose() -> Value {
    let text = std::fs::read_to_string(checkout().join("docker/compose.yaml")).unwrap();
    let mut parsed: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    parsed.apply_merge().unwrap();
    let mut compose: Value = serde_json::to_value(parsed).unwrap();
    // Newer than that schema, and in today's: the name of the project.
    assert_eq!(compose.as_object_mut().unwrap().remove("name").unwrap(), "streamcommerce");
    compose
}

async fn compose_schema() -> PathBuf {
    let logs = checkout().join("target");
    let packages = Packages::Unpacked(COMPOSE_WHEEL);
    let environment = python::environment("compose", &python::any(), &packages, &logs).await.unwrap();
    environment.join("unpacked/compose/config/compose_spec.json")
}
