//! What another version of a DAG does otherwise.

use std::collections::{BTreeMap, BTreeSet};

use orchestrator::dag::{Graph, Over, TaskSpec};
use serde_json::{Map, Value};

use super::details::settings;
use crate::pages::words::duration;

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// What was not there before.
    Added(String),
    /// What is not there any more.
    Removed(String),
    /// What is set to something else.
    Changed { what: String, from: String, to: String },
}

impl Change {
    /// How it is marked.
    pub(super) fn sign(&self) -> &'static str {
        match self {
            Self::Added(_) => "+",
            Self::Removed(_) => "−",
            Self::Changed { .. } => "~",
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Added(what) | Self::Removed(what) => what.clone(),
            Self::Changed { what, from, to } => format!("{what}: {from} → {to}"),
        }
    }
}

/// What `new` does otherwise than `old`: its settings, its tasks, the order in which they run.
pub(super) fn difference(old: &Graph, new: &Graph) -> Vec<Change> {
    let before: BTreeMap<_, _> = settings(old).into_iter().collect();
    let mut changes = Vec::new();
    for (name, to) in settings(new) {
        let from = before.get(name).cloned().unwrap_or_default();
        if name != "tasks" && from != to {
            changes.push(Change::Changed { what: name.to_owned(), from, to });
        }
    }
    if old.params().map(|params| params.schema()) != new.params().map(|params| params.schema()) {
        let what = "params".to_owned();
        changes.push(Change::Changed {
            what,
            from: "another schema".to_owned(),
            to: "the one of its details".to_owned(),
        });
    }
    let (old_tasks, new_tasks) = (tasks(old), tasks(new));
    changes.extend(new_tasks.keys().filter(|id| !old_tasks.contains_key(*id)).map(|id| Change::Added(named(id))));
    changes.extend(old_tasks.keys().filter(|id| !new_tasks.contains_key(*id)).map(|id| Change::Removed(named(id))));
    for (id, to) in &new_tasks {
        if let Some(from) = old_tasks.get(id) {
            changes.extend(changed(id, from, to));
        }
    }
    let (old_edges, new_edges) = (edges(old), edges(new));
    // What a task that came or went is tied to came or went with it.
    let stays = |(from, to): &&(String, String)| {
        [from, to].into_iter().all(|id| old_tasks.contains_key(id.as_str()) && new_tasks.contains_key(id.as_str()))
    };
    let edge = |(from, to): &(String, String)| format!("{to} after {from}");
    changes.extend(new_edges.difference(&old_edges).filter(stays).map(|one| Change::Added(edge(one))));
    changes.extend(old_edges.difference(&new_edges).filter(stays).map(|one| Change::Removed(edge(one))));
    changes
}

fn named(task: &str) -> String {
    format!("the task {task}")
}

fn tasks(graph: &Graph) -> BTreeMap<&str, Map<String, Value>> {
    graph.tasks().iter().map(|task| (task.task_id.as_str(), fields(graph, task))).collect()
}

/// What a task is set to; what is a place in the graph there, by its name here.
fn fields(graph: &Graph, task: &TaskSpec) -> Map<String, Value> {
    let mut fields = match serde_json::to_value(task) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    fields.remove("task_id");
    // The name of the task begins with that of its group.
    fields.remove("group");
    if let Some(Over::Result(node)) = task.over {
        let from = graph.task(node).map_or_else(String::new, |from| from.task_id.to_string());
        fields.insert("over".to_owned(), format!("the result of {from}").into());
    }
    fields.into_iter().flat_map(|(name, value)| single(name, value)).collect()
}

/// The single settings that one is made of.
fn single(name: String, value: Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(inner) if duration_of(&inner).is_none() => {
            inner.into_iter().flat_map(|(inner, value)| single(format!("{name}.{inner}"), value)).collect()
        }
        value => vec![(name, value)],
    }
}

/// A duration, as it stands in JSON, in milliseconds.
fn duration_of(value: &Map<String, Value>) -> Option<i64> {
    let (seconds, nanos) = (value.get("secs")?.as_i64()?, value.get("nanos")?.as_i64()?);
    Some(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
}

fn changed(id: &str, from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<Change> {
    let names: BTreeSet<_> = from.keys().chain(to.keys()).collect();
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.as_object().and_then(duration_of).map_or_else(|| other.to_string(), duration),
    };
    let change = |name: &&String| {
        let what = format!("{} of {id}", name.replace('_', " "));
        Change::Changed { what, from: text(from.get(*name)), to: text(to.get(*name)) }
    };
    names.iter().filter(|name| from.get(**name) != to.get(**name)).map(change).collect()
}

fn edges(graph: &Graph) -> BTreeSet<(String, String)> {
    let name = |node| graph.task(node).map_or_else(String::new, |task| task.task_id.to_string());
    graph.edges().iter().map(|edge| (name(edge.from), name(edge.to))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orchestrator::prelude::*;

    use super::*;

    async fn nothing(_: Context) -> TaskResult<()> {
        Ok(())
    }

    fn texts(old: Dag, new: Dag) -> Vec<String> {
        let (old, new) = (old.build().unwrap(), new.build().unwrap());
        let changes = difference(old.graph(), new.graph());
        changes.iter().map(|change| format!("{} {}", change.sign(), change.text())).collect()
    }

    #[test]
    fn it_says_what_came_went_and_is_set_otherwise() {
        let old = Dag::new("d").schedule(Schedule::cron("@daily"));
        let [a, b, c] = ["a", "b", "c"].map(|name| old.task(name, nothing));
        old.chain(a >> b >> c);
        let new = Dag::new("d").schedule(Schedule::cron("@hourly")).fail_fast();
        // In another place, which is no change.
        let d = new.task("d", nothing);
        let c = new.task("c", nothing);
        let a = new.task("a", nothing).queue("big").retries(3).retry_delay(Duration::from_secs(60));
        new.chain(a >> c >> d);
        assert_eq!(
            texts(old, new),
            [
                "~ schedule: @daily → @hourly",
                "~ fail_fast: no → yes",
                "+ the task d",
                "− the task b",
                "~ queue of a: default → big",
                "~ retry.delay of a: 5 min 0 s → 1 min 0 s",
                "~ retry.retries of a: 0 → 3",
                "+ c after a",
            ]
        );
    }

    #[test]
    fn the_same_is_no_change() {
        let dag = || {
            let dag = Dag::new("d");
            let group = dag.group("g");
            dag.chain(dag.task("first", nothing) >> group.task("inner", nothing));
            dag
        };
        assert_eq!(texts(dag(), dag()), [""; 0]);
    }
}
