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

/// A secret that somebody has not seen, and that what they wrote says nothing of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotRestored {
    /// It is not to be found in what is kept.
    #[error("{MASK} stands where no secret is kept: write what it is to be")]
    Unknown,
    /// It is not JSON any more, so nobody knows where the secrets were.
    #[error("this is no JSON, and secrets of the JSON that was here would be lost: write it whole")]
    NoJson,
}

/// What somebody wrote who has seen a value without its secrets: what they have not seen they do not overwrite with
/// asterisks. In a list, an item keeps its secrets if nothing else of it was changed, wherever it stands now.
///
/// # Errors
/// [`NotRestored::Unknown`].
pub fn restored(new: Value, kept: &Value) -> Result<Value, NotRestored> {
    match (new, kept) {
        (Value::Object(new), Value::Object(kept)) => {
            let restore = |(name, value): (String, Value)| {
                let value = match kept.get(&name) {
                    Some(kept) if is_sensitive(&name) && value == MASK => Ok(kept.clone()),
                    Some(kept) => restored(value, kept),
                    None => whole(value),
                };
                Ok((name, value?))
            };
            whole(Value::Object(new.into_iter().map(restore).collect::<Result<_, _>>()?))
        }
        (Value::Array(new), Value::Array(kept)) => {
            let mut left: Vec<_> = kept.iter().map(|kept| (redacted(kept.clone()), kept)).collect();
            let restore = |item: Value| match left.iter().position(|(seen, _)| *seen == item) {
                Some(at) => Ok(left.remove(at).1.clone()),
                None => whole(item),
            };
            Ok(Value::Array(new.into_iter().map(restore).collect::<Result<_, _>>()?))
        }
        (new, _) => whole(new),
    }
}

/// A value in which no secret is missing.
fn whole(mut value: Value) -> Result<Value, NotRestored> {
    let mut is_missing = false;
    each_secret(&mut value, &mut |secret| is_missing |= secret == MASK);
    if is_missing { Err(NotRestored::Unknown) } else { Ok(value) }
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

/// The new text of a variable, as somebody wrote it who has seen [`redacted_text`]. What they did not change stays word for
/// word.
///
/// # Errors
/// [`NotRestored`].
pub fn restored_text(name: &str, new: String, kept: &str) -> Result<String, NotRestored> {
    if new == redacted_text(name, kept.to_owned()) {
        return Ok(kept.to_owned());
    }
    if is_sensitive(name) || !new.contains(MASK) {
        return Ok(new);
    }
    let Ok(kept) = serde_json::from_str::<Value>(kept) else { return Ok(new) };
    if secrets(&kept).is_empty() {
        return Ok(new);
    }
    let new = serde_json::from_str::<Value>(&new).map_err(|_| NotRestored::NoJson)?;
    Ok(restored(new, &kept)?.to_string())
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

    fn example() -> Value {
        json!({
            "host": "h", "password": "p", "none": { "token": null },
            "deep": [{ "api_key": "a", "name": "n" }, { "secrets": { "one": "b", "two": [7] } }],
        })
    }

    #[test]
    fn what_sounds_secret_is_hidden_however_deep() {
        let seen = redacted(example());
        assert_eq!(
            seen,
            json!({
                "host": "h", "password": MASK, "none": { "token": null },
                "deep": [{ "api_key": MASK, "name": "n" }, { "secrets": MASK }],
            })
        );
        assert_eq!(restored(seen, &example()), Ok(example()), "and who writes it back changes nothing");
        let mut found = secrets(&example());
        found.sort();
        assert_eq!(found, ["7", "a", "b", "p"]);
    }

    #[test]
    fn what_is_written_counts_and_no_secret_is_lost_or_given_to_another() {
        let kept = json!({ "password": "p", "users": [{ "name": "a", "token": "1" }, { "name": "b", "token": "2" }] });
        let seen = |name: &str| json!({ "name": name, "token": MASK });
        let fewer = json!({ "password": "new", "users": [seen("b"), { "name": "c", "token": "3" }] });
        let expected = json!({
            "password": "new", "users": [{ "name": "b", "token": "2" }, { "name": "c", "token": "3" }],
        });
        assert_eq!(restored(fewer, &kept), Ok(expected), "whoever is b now was b before");
        for lost in [
            json!({ "users": [seen("renamed")] }),
            json!({ "passwords": MASK }),
            json!({ "users": [seen("a"), seen("a")] }),
            json!([{ "token": MASK }]),
        ] {
            assert_eq!(restored(lost.clone(), &kept), Err(NotRestored::Unknown), "{lost}");
        }
        assert_eq!(restored(json!({ "host": MASK }), &kept), Ok(json!({ "host": MASK })), "that is no secret");
    }

    #[test]
    fn the_text_of_a_variable_is_kept_word_for_word_unless_it_has_secrets() {
        for plain in ["not { json", "{ \"a\" :  1 }", "7", "***"] {
            assert_eq!(redacted_text("plain", plain.to_owned()), plain);
            assert_eq!(restored_text("plain", plain.to_owned(), "{}").as_deref(), Ok(plain));
        }
        let kept = r#"{ "password": "p",  "big": 123456789012345678901234567890 }"#;
        let seen = redacted_text("db", kept.to_owned());
        assert!(!seen.contains("\"p\"") && seen.contains(MASK), "{seen}");
        assert_eq!(restored_text("db", seen.clone(), kept).as_deref(), Ok(kept), "also the spaces, and the number");
        assert_eq!(restored_text("db", format!("{seen},"), kept), Err(NotRestored::NoJson));
        assert_eq!(restored_text("db", "none".to_owned(), kept).as_deref(), Ok("none"));
        assert_eq!(redacted_text("db_password", "p".to_owned()), MASK);
        assert_eq!(restored_text("db_password", MASK.to_owned(), "p").as_deref(), Ok("p"));
        assert_eq!(restored_text("db_password", "new".to_owned(), "p").as_deref(), Ok("new"));
        assert_eq!(secrets_of_text("db", kept), ["p"]);
    }
}
