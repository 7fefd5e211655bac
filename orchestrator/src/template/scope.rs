//! The variables of a template, by Airflow's names.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Kwargs, Object, ObjectRepr, Serde, from_args},
};
use serde::Serialize;

use super::{
    lookups::{Lookup, Lookups},
    time::{Macros, Time},
};
use crate::{
    context::Facts,
    ids::{DagId, RunId, TaskId},
    lookup::Connection,
    store::{assets::AssetEvent, run_dates::RunDates},
};

/// Everything that a template may name.
#[derive(Debug)]
pub(super) struct Scope {
    facts: Arc<Facts>,
    lookups: Arc<Lookups>,
}

impl Scope {
    pub(super) fn new(facts: Facts, lookups: Arc<Lookups>) -> Self {
        Self { facts: Arc::new(facts), lookups }
    }

    /// None if the run is about no time.
    fn date(&self) -> Option<Time> {
        let date = self.facts.logical_date.map(Time::from);
        if date.is_none() {
            self.lookups.put_timeless("logical date");
        }
        date
    }

    /// None if the run is about no time.
    fn interval(&self, end: &str) -> Option<Value> {
        let interval = self.lookups.get(Lookup::Run)?.get_attr(end).ok().filter(|end| !end.is_none());
        if interval.is_none() {
            self.lookups.put_timeless("data interval");
        }
        interval
    }

    /// None, as a value, if no run has succeeded yet.
    fn previous_success(&self, date: &str) -> Option<Value> {
        let run = self.lookups.get(Lookup::PreviousSuccess)?;
        if run.is_none() { Some(run) } else { run.get_attr(date).ok() }
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let facts = &self.facts;
        match key.as_str()? {
            "ds" => self.date().map(Time::ds).map(Value::from),
            "ds_nodash" => self.date().map(Time::ds_nodash).map(Value::from),
            "ts" => self.date().map(Time::ts).map(Value::from),
            "ts_nodash" => self.date().map(Time::ts_nodash).map(Value::from),
            "ts_nodash_with_tz" => self.date().map(Time::ts_nodash_with_tz).map(Value::from),
            "logical_date" => self.date().map(Value::from_object),
            end @ ("data_interval_start" | "data_interval_end") => self.interval(end),
            "prev_data_interval_start_success" => self.previous_success("data_interval_start"),
            "prev_data_interval_end_success" => self.previous_success("data_interval_end"),
            "prev_start_date_success" => self.previous_success("start_date"),
            "prev_end_date_success" => self.previous_success("end_date"),
            "triggering_asset_events" => self.lookups.get(Lookup::AssetEvents),
            "run_id" => Some(Value::from(facts.run_id.as_str())),
            "dag" => Some(Value::from_pairs([("dag_id", facts.dag_id.as_str())])),
            "task" => Some(Value::from_pairs([("task_id", facts.task_id.as_str())])),
            "params" => Some(json(&facts.params)),
            "conf" => Some(json(&facts.conf)),
            "dag_run" => Some(Value::from_object(Run { facts: Arc::clone(facts), lookups: Arc::clone(&self.lookups) })),
            "ti" | "task_instance" => {
                Some(Value::from_object(Instance { facts: Arc::clone(facts), lookups: Arc::clone(&self.lookups) }))
            }
            "task_instance_key_str" => {
                let (dag, task) = (&facts.dag_id, &facts.task_id);
                self.date().map(|date| Value::from(format!("{dag}__{task}__{}", date.ds_nodash())))
            }
            "var" => {
                let of = |form| Value::from_object(Variables { form, lookups: Arc::clone(&self.lookups) });
                Some(Value::from_pairs([("value", of(Form::Text)), ("json", of(Form::Json))]))
            }
            "conn" => Some(Value::from_object(Connections(Arc::clone(&self.lookups)))),
            "macros" => Some(Value::from_object(Macros)),
            _ => None,
        }
    }
}

/// The run: Airflow's `dag_run`.
#[derive(Debug)]
struct Run {
    facts: Arc<Facts>,
    lookups: Arc<Lookups>,
}

impl Object for Run {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "dag_id" => Some(Value::from(self.facts.dag_id.as_str())),
            "run_id" => Some(Value::from(self.facts.run_id.as_str())),
            "conf" => Some(json(&self.facts.conf)),
            "logical_date" => Some(self.facts.logical_date.map_or(Value::from(()), Time::value)),
            other => self.lookups.get(Lookup::Run)?.get_attr(other).ok().filter(|found| !found.is_undefined()),
        }
    }
}

/// The task instance: Airflow's `ti`.
#[derive(Debug)]
struct Instance {
    facts: Arc<Facts>,
    lookups: Arc<Lookups>,
}

impl Instance {
    fn result_of(&self, task: &str) -> Value {
        self.lookups.get(Lookup::Result(TaskId::from(task))).unwrap_or_else(|| Value::from(()))
    }
}

impl Object for Instance {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "dag_id" => Some(Value::from(self.facts.dag_id.as_str())),
            "task_id" => Some(Value::from(self.facts.task_id.as_str())),
            "run_id" => Some(Value::from(self.facts.run_id.as_str())),
            "try_number" => Some(Value::from(self.facts.try_number)),
            "map_index" => Some(Value::from(self.facts.map_index)),
            _ => None,
        }
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if method != "xcom_pull" {
            return Err(Error::from(ErrorKind::UnknownMethod));
        }
        let (first, named): (Option<Value>, Kwargs) = from_args(args)?;
        let tasks = first.map_or_else(|| named.get("task_ids"), Ok)?;
        let key = named.get::<Option<&str>>("key")?.unwrap_or("return_value");
        named.assert_all_used()?;
        if key != "return_value" {
            let why = format!("tasks have one result, and no {key:?}: return a struct, and take its field");
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        }
        match tasks.as_str() {
            Some(task) => Ok(self.result_of(task)),
            None => tasks.try_iter().map(|tasks| {
                tasks.map(|task| task.as_str().map_or_else(|| Value::from(()), |task| self.result_of(task))).collect()
            }),
        }
    }
}

/// `var.value` and `var.json`.
#[derive(Debug)]
struct Variables {
    form: Form,
    lookups: Arc<Lookups>,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Text,
    Json,
}

impl Variables {
    fn find(&self, key: &str) -> Option<Value> {
        let text = self.lookups.get(Lookup::Variable(key.to_owned()))?;
        match self.form {
            Form::Text => Some(text),
            Form::Json => {
                let value = serde_json::from_str::<serde_json::Value>(text.as_str()?);
                let why = |error| Error::new(ErrorKind::BadSerialization, format!("the variable {key}: {error}"));
                Some(value.map_or_else(|error| Value::from(why(error)), json))
            }
        }
    }
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.find(key.as_str()?)
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        get(method, args, |key| self.find(key))
    }
}

/// `conn`.
#[derive(Debug)]
struct Connections(Arc<Lookups>);

impl Connections {
    fn find(&self, id: &str) -> Option<Value> {
        self.0.get(Lookup::Connection(id.to_owned()))
    }
}

impl Object for Connections {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.find(key.as_str()?)
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        get(method, args, |id| self.find(id))
    }
}

/// Python's `get(key, default)`.
fn get(method: &str, args: &[Value], find: impl Fn(&str) -> Option<Value>) -> Result<Value, Error> {
    if method != "get" {
        return Err(Error::from(ErrorKind::UnknownMethod));
    }
    let (key, default): (&str, Option<Value>) = from_args(args)?;
    Ok(find(key).or(default).unwrap_or_else(|| Value::from(())))
}

/// A value as templates know it.
pub(super) fn json(value: impl Serialize) -> Value {
    Value::from(Serde(value))
}

/// When a run was, and why, by the names of Airflow's `dag_run`.
pub(super) fn dates(run: &RunDates) -> Value {
    let time = |instant: Option<DateTime<Utc>>| instant.map_or(Value::from(()), Time::value);
    Value::from_pairs([
        ("run_type", Value::from(run.run_type.as_str())),
        ("run_id", Value::from(run.run_id.as_str())),
        ("logical_date", time(run.logical_date)),
        ("run_after", Time::value(run.run_after)),
        ("start_date", time(run.start_date)),
        ("end_date", time(run.end_date)),
        ("data_interval_start", time(run.data_interval_start)),
        ("data_interval_end", time(run.data_interval_end)),
    ])
}

/// The updates of each asset, in their order.
pub(super) fn asset_events(events: Vec<AssetEvent>, lookups: &Arc<Lookups>) -> Value {
    let mut by_asset: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in events {
        let of = by_asset.entry(event.asset.clone()).or_default();
        of.push(Value::from_object(Update { event, lookups: Arc::clone(lookups) }));
    }
    Value::from_pairs(by_asset.into_iter().map(|(asset, events)| (asset, Value::from(events))))
}

/// An update of an asset: Airflow's `AssetEvent`.
#[derive(Debug)]
struct Update {
    event: AssetEvent,
    lookups: Arc<Lookups>,
}

impl Object for Update {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let event = &self.event;
        match key.as_str()? {
            "timestamp" => Some(Time::value(event.happened_at)),
            "extra" => Some(json(&event.extra)),
            "source_dag_id" => Some(Value::from(event.source_dag_id.as_ref().map(DagId::as_str))),
            "source_run_id" => Some(Value::from(event.source_run_id.as_ref().map(RunId::as_str))),
            "source_task_id" => Some(Value::from(event.source_task_id.as_ref().map(TaskId::as_str))),
            "source_map_index" => Some(Value::from(event.source_map_index)),
            "source_dag_run" => match (&event.source_dag_id, &event.source_run_id) {
                (Some(dag), Some(run)) => self.lookups.get(Lookup::SourceRun(dag.clone(), run.clone())),
                // Something outside updated it.
                _ => Some(Value::from(())),
            },
            _ => None,
        }
    }
}

/// A connection by the names of its fields; `extra_dejson` is what else it has.
pub(super) fn connection(found: &Connection) -> Value {
    Value::from_pairs([
        ("conn_type", Value::from(found.conn_type.as_str())),
        ("description", Value::from(found.description.as_deref())),
        ("host", Value::from(found.host.as_deref())),
        ("login", Value::from(found.login.as_deref())),
        ("password", Value::from(found.password.as_deref())),
        ("port", Value::from(found.port)),
        ("schema", Value::from(found.schema.as_deref())),
        ("extra", Value::from(found.extra.as_ref().map(ToString::to_string))),
        ("extra_dejson", json(&found.extra)),
    ])
}
