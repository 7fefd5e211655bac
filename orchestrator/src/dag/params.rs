//! What may be said about a run when it is triggered: Airflow's params, from a Rust type.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The params of a DAG: their JSON schema, and what they are unless a trigger says otherwise.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Params {
    schema: Value,
    defaults: Map<String, Value>,
}

/// A type whose fields are the params of a DAG; any struct that derives these traits is one.
pub trait ParamsType: Serialize + DeserializeOwned + JsonSchema {}

impl<T: Serialize + DeserializeOwned + JsonSchema> ParamsType for T {}

/// Values that do not fit the schema of a DAG's params.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct BadParams(Vec<String>);

impl fmt::Display for BadParams {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("; "))
    }
}

impl Params {
    /// The params that a type describes. None if the defaults are not written as a JSON object.
    pub(super) fn of<P: ParamsType>(defaults: &P) -> Option<Self> {
        let schema: Schema = SchemaGenerator::default().into_root_schema_for::<P>();
        let Ok(Value::Object(defaults)) = serde_json::to_value(defaults) else { return None };
        Some(Self { schema: schema.to_value(), defaults })
    }

    /// Their JSON schema: an object, with a property for each of them.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// What they are unless a trigger says otherwise.
    #[must_use]
    pub fn defaults(&self) -> &Map<String, Value> {
        &self.defaults
    }

    /// What they are in a run with that conf, which goes before the defaults: Airflow's
    /// `dag_run_conf_overrides_params`.
    #[must_use]
    pub fn with_conf(&self, conf: &Value) -> Value {
        let mut params = self.defaults.clone();
        let said = conf.as_object().into_iter().flatten().filter(|(name, _)| self.is_param(name));
        params.extend(said.map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(params)
    }

    /// Whether a run may have that conf.
    ///
    /// # Errors
    /// What does not fit the schema, each with its place.
    pub fn check(&self, conf: &Value) -> Result<(), BadParams> {
        let validator = jsonschema::validator_for(&self.schema).map_err(|error| BadParams(vec![error.to_string()]))?;
        let params = self.with_conf(conf);
        let faults: Vec<_> = validator
            .iter_errors(&params)
            .map(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                place => format!("{}: {error}", place.trim_start_matches('/')),
            })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(BadParams(faults)) }
    }

    fn is_param(&self, name: &str) -> bool {
        self.defaults.contains_key(name) || self.schema["properties"].get(name).is_some()
    }
}
