//! The decoder that decides, and says what is wrong.

use chrono::{DateTime, Utc};
use lake::event::{Event, FIELDS_MAX, Field, Kind};
use serde_json::{Map, Value};

use super::{Broken, Cell, Cells, Code, has_length, is_sane, timestamp_micros};

pub(super) fn decode<T>(
    event: Event,
    payload: &[u8],
    ingested: DateTime<Utc>,
    take: impl FnOnce(Result<&Cells<'_>, Broken>) -> T,
) -> T {
    let object: Map<String, Value> = match serde_json::from_slice(payload) {
        Ok(object) => object,
        Err(error) => {
            let message = format!("not a JSON object: {error}");
            return take(Err(Broken { code: Code::MalformedJson, message }));
        }
    };
    let mut cells = [Cell::Null; FIELDS_MAX];
    for (at, field) in cells.iter_mut().zip(event.fields()) {
        match cell(field, object.get(field.name), ingested) {
            Ok(cell) => *at = cell,
            Err(broken) => return take(Err(broken)),
        }
    }
    take(Ok(&cells))
}

fn cell<'v>(field: &Field, value: Option<&'v Value>, ingested: DateTime<Utc>) -> Result<Cell<'v>, Broken> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        if field.is_required {
            return Err(Broken { code: Code::MissingField, message: format!("{} is missing", field.name) });
        }
        return Ok(Cell::Null);
    };
    let wrong_type = |wanted| broken(Code::WrongType, field, value, wanted);
    match field.kind {
        Kind::Text { max_chars, .. } => match value.as_str().ok_or_else(|| wrong_type("a text"))? {
            text if has_length(text, max_chars) => Ok(Cell::Text(text)),
            _ => Err(broken(Code::OutOfRange, field, value, &format!("a text of 1 to {max_chars} characters"))),
        },
        Kind::Integer { min, max } => match value.as_i64() {
            Some(number) if (min..=max).contains(&number) => Ok(Cell::Integer(number)),
            Some(_) => Err(broken(Code::OutOfRange, field, value, &format!("a number from {min} to {max}"))),
            None => Err(wrong_type("a whole number")),
        },
        Kind::Float { min, max } => match value.as_f64() {
            Some(number) if (min..=max).contains(&number) => Ok(Cell::Float(number)),
            Some(_) => Err(broken(Code::OutOfRange, field, value, &format!("a number from {min} to {max}"))),
            None => Err(wrong_type("a number")),
        },
        Kind::Timestamp => {
            let text = value.as_str().ok_or_else(|| wrong_type("an ISO 8601 instant"))?;
            let bad = |wanted| broken(Code::BadTimestamp, field, value, wanted);
            let micros = timestamp_micros(text).ok_or_else(|| bad("an ISO 8601 instant"))?;
            match is_sane(micros, ingested) {
                true => Ok(Cell::Timestamp(micros)),
                false => Err(bad("an instant between the year 2000 and tomorrow")),
            }
        }
    }
}

fn broken(code: Code, field: &Field, value: &Value, wanted: &str) -> Broken {
    /// A dead letter holds the whole record; its message needs not.
    const SHOWN_CHARS: usize = 100;
    let shown: String = value.to_string().chars().take(SHOWN_CHARS).collect();
    Broken { code, message: format!("{} must be {wanted}, not {shown}", field.name) }
}
