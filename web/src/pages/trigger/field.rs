//! A field of the form for a param, as its JSON schema has it.

use serde_json::Value;

/// How a param is asked for, and what may be said.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    /// Whether it may be `null`: then that is what an empty field says.
    pub(super) nullable: bool,
    /// The attributes that let a browser refuse what the schema would: `min`, `max`, `pattern` and their like.
    pub(super) limits: Vec<(&'static str, String)>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Kind {
    Text,
    /// A day: ISO 8601, without a time.
    Day,
    Number,
    /// Whole numbers only.
    Integer,
    Flag,
    OneOf(Vec<Value>),
    Json,
}

impl Asked {
    /// How a param of that schema is asked for; `root` has what it refers to.
    pub(super) fn of(root: &Value, schema: &Value) -> Self {
        let (schema, nullable) = without_null(root, resolved(root, schema));
        let kind = kind(root, schema);
        let limits = limits(&kind, schema);
        Self { kind, nullable, limits }
    }

    /// A value as it stands in the field: a text as it is, all else as JSON.
    pub(super) fn written(&self, value: Option<&Value>) -> String {
        match (&self.kind, value) {
            (Kind::Json, Some(Value::Null)) if self.nullable => String::new(),
            (Kind::Json, Some(value)) => value.to_string(),
            (_, Some(value)) => plain(value),
            (_, None) => String::new(),
        }
    }

    /// What the field says; none: nothing, so that it is as its author said.
    ///
    /// # Errors
    /// It is no number, or no JSON.
    pub(super) fn read(&self, text: Option<&str>) -> Result<Option<Value>, serde_json::Error> {
        // A box that is not ticked is not sent; any other field that is not was not asked for.
        let text = match (&self.kind, text) {
            (Kind::Flag, ticked) => return Ok(Some(Value::Bool(ticked == Some("true")))),
            (_, None) => return Ok(None),
            (_, Some(text)) => text,
        };
        match &self.kind {
            _ if text.is_empty() && self.nullable => Ok(Some(Value::Null)),
            Kind::Text => Ok(Some(Value::String(text.to_owned()))),
            _ if text.is_empty() => Ok(None),
            Kind::Day => Ok(Some(Value::String(text.to_owned()))),
            Kind::OneOf(values) => Ok(values.iter().find(|value| plain(value) == text).cloned()),
            Kind::Number | Kind::Integer | Kind::Json | Kind::Flag => serde_json::from_str(text).map(Some),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a schema refers to: schemars gives each enum and struct a place of its own.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let to = schema["$ref"].as_str().and_then(|to| root.pointer(to.strip_prefix('#')?));
    to.unwrap_or(schema)
}

/// A schema of which `null` is one alternative, and whether it was.
fn without_null<'s>(root: &'s Value, schema: &'s Value) -> (&'s Value, bool) {
    if let Some(types) = schema["type"].as_array() {
        return (schema, types.iter().any(|one| one == "null"));
    }
    let is_null = |one: &&Value| one["type"] == "null";
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([one, other]) if is_null(&other) => (resolved(root, one), true),
        Some([one, other]) if is_null(&one) => (resolved(root, other), true),
        _ => (schema, false),
    }
}

fn kind(root: &Value, schema: &Value) -> Kind {
    if let Some(values) = values(root, schema) {
        return Kind::OneOf(values);
    }
    let types = schema["type"].as_array();
    let only = types.and_then(|types| types.iter().find(|one| *one != "null")).unwrap_or(&schema["type"]);
    match only.as_str() {
        Some("string") if schema["format"] == "date" => Kind::Day,
        Some("string") => Kind::Text,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") if types.is_none() => Kind::Flag,
        Some("boolean") => Kind::OneOf(vec![Value::Bool(true), Value::Bool(false)]),
        _ => Kind::Json,
    }
}

/// The values that there are, if a schema lists them: as an `enum`, or as alternatives with a text each.
fn values(root: &Value, schema: &Value) -> Option<Vec<Value>> {
    let schema = resolved(root, schema);
    if let Some(value) = schema.get("const") {
        return Some(vec![value.clone()]);
    }
    if let Some(values) = schema["enum"].as_array() {
        return Some(values.iter().filter(|value| !value.is_null()).cloned().collect());
    }
    let alternatives = schema["oneOf"].as_array()?.iter().map(|one| values(root, one));
    Some(alternatives.collect::<Option<Vec<_>>>()?.concat())
}

fn limits(kind: &Kind, schema: &Value) -> Vec<(&'static str, String)> {
    let names: &[(&'static str, &str)] = match kind {
        Kind::Text => &[("minlength", "minLength"), ("maxlength", "maxLength"), ("pattern", "pattern")],
        Kind::Number | Kind::Integer => &[("min", "minimum"), ("max", "maximum")],
        _ => &[],
    };
    let said = names.iter().filter_map(|(attribute, name)| Some((*attribute, plain(schema.get(name)?))));
    said.collect()
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[schemars(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Mode {
        Full,
        Quick,
    }

    #[derive(JsonSchema)]
    #[schemars(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is read")]
    enum Told {
        /// To everybody.
        Loud,
        /// To nobody.
        Silent,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is read")]
    struct Settings {
        mode: Mode,
        told: Told,
        other: Option<Mode>,
        name: Option<String>,
        #[schemars(range(min = 1, max = 10))]
        times: u32,
        share: Option<f64>,
        sure: bool,
        perhaps: Option<bool>,
        tags: Vec<String>,
        #[schemars(extend("format" = "date"))]
        day: String,
    }

    fn asked(name: &str) -> Asked {
        let root = schemars::schema_for!(Settings).to_value();
        Asked::of(&root, &root["properties"][name])
    }

    #[test]
    fn every_type_of_an_author_has_a_field() {
        let modes = Kind::OneOf(vec![json!("full"), json!("quick")]);
        for (name, kind, nullable) in [
            ("mode", modes.clone(), false),
            ("told", Kind::OneOf(vec![json!("loud"), json!("silent")]), false),
            ("other", modes, true),
            ("name", Kind::Text, true),
            ("times", Kind::Integer, false),
            ("share", Kind::Number, true),
            ("sure", Kind::Flag, false),
            ("perhaps", Kind::OneOf(vec![json!(true), json!(false)]), true),
            ("tags", Kind::Json, false),
            ("day", Kind::Day, false),
        ] {
            let asked = asked(name);
            assert_eq!((asked.kind, asked.nullable), (kind, nullable), "{name}");
        }
        assert_eq!(asked("times").limits, [("min", "1".to_owned()), ("max", "10".to_owned())]);
    }

    #[test]
    fn what_is_not_touched_is_what_it_was() {
        for (name, value) in [
            ("mode", json!("quick")),
            ("told", json!("loud")),
            ("other", Value::Null),
            ("other", json!("full")),
            ("name", json!("ada")),
            ("name", Value::Null),
            ("times", json!(2)),
            ("share", json!(0.5)),
            ("sure", json!(false)),
            ("perhaps", json!(true)),
            ("tags", json!(["a", "5"])),
            ("day", json!("2026-01-31")),
        ] {
            let asked = asked(name);
            let text = asked.written(Some(&value));
            assert_eq!(asked.read(Some(&text)).unwrap(), Some(value), "{name}: {text:?}");
        }
    }

    #[test]
    fn a_field_gives_a_value_of_the_type_of_its_param() {
        let read = |schema: Value, text: &str| Asked::of(&schema, &schema).read(Some(text)).ok().flatten();
        assert_eq!(read(json!({ "type": "integer" }), "five"), None);
        assert_eq!(read(json!({ "type": "integer" }), ""), None, "what is empty is not given");
        assert_eq!(read(json!({ "type": "string" }), ""), Some(json!("")), "but a text may be empty");
        let text = Asked::of(&json!({}), &json!({ "type": "string" }));
        assert_eq!(text.read(None).unwrap(), None, "what was not asked for is not given");
        assert_eq!(asked("sure").read(None).unwrap(), Some(json!(false)));
        assert_eq!(read(json!({ "enum": ["a", 2] }), "2"), Some(json!(2)));
        assert_eq!(read(json!({ "enum": ["a", 2] }), "3"), None);
        assert_eq!(read(json!(true), "{\"any\": 1}"), Some(json!({ "any": 1 })));
        assert_eq!(read(json!({ "$ref": "#/nowhere" }), "\"x\""), Some(json!("x")));
    }
}
