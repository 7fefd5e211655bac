//! What of a value is secret: all of one whose name sounds so, and in JSON every field whose name does, however deep
//! (Airflow's secrets masker).

use serde_json::Value;

use crate::secrets::{MASK, is_sensitive};

/// A value without its secrets.
#[must_use]
pub fn redacted(mut value: Value) -> Value {
    each_secret(&mut value, &mut |secret| *secret = Value::from(MASK));
    value
}

/// What somebody wrote who has seen a value without its secrets: what they have not seen they do not overwrite with
/// asterisks.
#[must_use]
pub fn restored(new: Value, kept: &Value) -> Value {
    match (new, kept) {
        (Value::Object(new), Value::Object(kept)) => {
            let restore = |(name, value): (String, Value)| {
                let value = match kept.get(&name) {
                    Some(kept) if is_sensitive(&name) && value == MASK => kept.clone(),
                    Some(kept) => restored(value, kept),
                    None => value,
                };
                (name, value)
            };
            Value::Object(new.into_iter().map(restore).collect())
        }
        (Value::Array(new), Value::Array(kept)) => {
            let kept = kept.iter().map(Some).chain(std::iter::repeat(None));
            let restore = |(value, kept): (Value, Option<&Value>)| match kept {
                Some(kept) => restored(value, kept),
                None => value,
            };
            Value::Array(new.into_iter().zip(kept).map(restore).collect())
        }
        (new, _) => new,
    }
}

/// The texts that are secret in a value.
#[must_use]
pub fn secrets(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    each_secret(&mut value.clone(), &mut |secret| match secret {
        Value::String(text) => found.push(std::mem::take(text)),
        other => found.extend(texts(other)),
    });
    found
}

/// The text of a variable, without its secrets; word for word, if it has none.
#[must_use]
pub fn redacted_text(name: &str, text: String) -> String {
    if is_sensitive(name) {
        return MASK.to_owned();
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if !secrets(&value).is_empty() => redacted(value).to_string(),
        _ => text,
    }
}

/// The new text of a variable, as somebody wrote it who has seen [`redacted_text`].
#[must_use]
pub fn restored_text(name: &str, new: String, kept: &str) -> String {
    if is_sensitive(name) {
        return if new == MASK { kept.to_owned() } else { new };
    }
    match (serde_json::from_str::<Value>(&new), serde_json::from_str::<Value>(kept)) {
        (Ok(value), Ok(kept)) if new.contains(MASK) => restored(value, &kept).to_string(),
        _ => new,
    }
}

/// The texts of a variable that are secret.
#[must_use]
pub fn secrets_of_text(name: &str, text: &str) -> Vec<String> {
    if is_sensitive(name) {
        return vec![text.to_owned()];
    }
    serde_json::from_str(text).map(|value| secrets(&value)).unwrap_or_default()
}

fn each_secret(value: &mut Value, act: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Null => {}
                    value if is_sensitive(name) => act(value),
                    value => each_secret(value, act),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_secret(item, act)),
        _ => {}
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Number(number) => vec![number.to_string()],
        Value::Null | Value::Bool(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole() -> Value {
        json!({
            "host": "h", "password": "p", "none": { "token": null },
            "deep": [{ "api_key": "a", "name": "n" }, { "secrets": { "one": "b", "two": [7] } }],
        })
    }

    #[test]
    fn what_sounds_secret_is_hidden_however_deep() {
        let seen = redacted(whole());
        assert_eq!(
            seen,
            json!({
                "host": "h", "password": MASK, "none": { "token": null },
                "deep": [{ "api_key": MASK, "name": "n" }, { "secrets": MASK }],
            })
        );
        assert_eq!(restored(seen, &whole()), whole(), "and who writes it back changes nothing");
        let mut found = secrets(&whole());
        found.sort();
        assert_eq!(found, ["7", "a", "b", "p"]);
    }

    #[test]
    fn what_is_written_counts_and_what_is_not_known_stays_as_it_is() {
        let new = json!({ "password": "new", "host": MASK, "token": MASK, "deep": [{ "api_key": MASK }] });
        let expected = json!({ "password": "new", "host": MASK, "token": MASK, "deep": [{ "api_key": "a" }] });
        assert_eq!(restored(new, &whole()), expected);
    }

    #[test]
    fn the_text_of_a_variable_is_kept_word_for_word_unless_it_has_secrets() {
        for plain in ["not { json", "{ \"a\" :  1 }", "7", "***"] {
            assert_eq!(redacted_text("plain", plain.to_owned()), plain);
            assert_eq!(restored_text("plain", plain.to_owned(), "{}"), plain);
        }
        let kept = r#"{"password":"p","host":"h"}"#;
        let seen = redacted_text("db", kept.to_owned());
        assert!(!seen.contains("\"p\"") && seen.contains(MASK), "{seen}");
        assert_eq!(
            serde_json::from_str::<Value>(&restored_text("db", seen, kept)).unwrap(),
            json!({ "password": "p", "host": "h" })
        );
        assert_eq!(redacted_text("db_password", "p".to_owned()), MASK);
        assert_eq!(restored_text("db_password", MASK.to_owned(), "p"), "p");
        assert_eq!(secrets_of_text("db", kept), ["p"]);
    }
}
