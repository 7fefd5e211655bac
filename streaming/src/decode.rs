//! One record: JSON to the values of its event's fields, or the reason why not.

use chrono::{DateTime, NaiveDateTime, Utc};
use lake::event::{Event, Field, Kind, TIMESTAMP_AHEAD_MICROS, TIMESTAMP_MIN_MICROS};
use serde_json::{Map, Value};

/// The value of a field, as its column takes it.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// Nothing, where that is allowed.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Microseconds since 1970, UTC.
    Timestamp(i64),
}

/// Why a record is a dead letter: a code for programs, a message for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// One of the codes below.
    pub code: Code,
    /// What is wrong, with the field and its value.
    pub message: String,
}

/// What can be wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Code {
    /// Not JSON, or not an object.
    MalformedJson,
    /// A required field is absent or null.
    MissingField,
    /// A field holds another type.
    WrongType,
    /// A number lies outside of its bounds, or a text is empty or too long.
    OutOfRange,
    /// An instant that cannot be read, or that cannot be true.
    BadTimestamp,
}

impl Code {
    /// As the dead letters write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::BadTimestamp => "bad_timestamp",
        }
    }
}

/// Decodes a record and checks every field; `ingested` is what "ahead" is measured from. Fields that the event does
/// not have are left out.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn decode(event: Event, payload: &[u8], ingested: DateTime<Utc>) -> Result<Vec<Cell>, Broken> {
    let object: Map<String, Value> = serde_json::from_slice(payload)
        .map_err(|error| Broken { code: Code::MalformedJson, message: format!("not a JSON object: {error}") })?;
    event.fields().iter().map(|field| cell(field, object.get(field.name), ingested)).collect()
}

fn cell(field: &Field, value: Option<&Value>, ingested: DateTime<Utc>) -> Result<Cell, Broken> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        if field.is_required {
            return Err(Broken { code: Code::MissingField, message: format!("{} is missing", field.name) });
        }
        return Ok(Cell::Null);
    };
    let wrong_type = |wanted| broken(Code::WrongType, field, value, wanted);
    match field.kind {
        Kind::Text { max_chars } => {
            let text = value.as_str().ok_or_else(|| wrong_type("a text"))?;
            match text.is_empty() || text.chars().count() > max_chars {
                true => Err(broken(Code::OutOfRange, field, value, &format!("a text of 1 to {max_chars} characters"))),
                false => Ok(Cell::Text(text.to_owned())),
            }
        }
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
            let latest = ingested.timestamp_micros() + TIMESTAMP_AHEAD_MICROS;
            match (TIMESTAMP_MIN_MICROS..=latest).contains(&micros) {
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

/// Reads ISO 8601; without a zone it is UTC, as the shop writes it.
#[must_use]
pub fn timestamp_micros(text: &str) -> Option<i64> {
    let with_zone = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_micros());
    let naive = |format| {
        NaiveDateTime::parse_from_str(text, format).ok().map(|at: NaiveDateTime| at.and_utc().timestamp_micros())
    };
    naive("%Y-%m-%dT%H:%M:%S%.f").or_else(with_zone).or_else(|| naive("%Y-%m-%d %H:%M:%S%.f"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-22T13:00:00Z".parse().unwrap()
    }

    fn code(event: Event, json: &str) -> Option<Code> {
        decode(event, json.as_bytes(), now()).err().map(|broken| broken.code)
    }

    #[test]
    fn a_view_becomes_its_cells() {
        let json = r#"{"productId":"product1","viewCount":7,"lastViewed":"2026-11-22T12:00:00.123456","extra":1}"#;
        let cells = decode(Event::Views, json.as_bytes(), now()).unwrap();
        let instant = "2026-11-22T12:00:00.123456Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros();
        assert_eq!(cells, [Cell::Text("product1".into()), Cell::Integer(7), Cell::Timestamp(instant)]);
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        let view = |fields: &str| {
            format!("{{\"productId\":\"p\",\"viewCount\":1,\"lastViewed\":\"2026-11-22T12:00:00\"{fields}}}")
        };
        let table = [
            (view(""), None),
            ("{".to_owned(), Some(Code::MalformedJson)),
            ("[1]".to_owned(), Some(Code::MalformedJson)),
            (String::new(), Some(Code::MalformedJson)),
            (r#"{"viewCount":1,"lastViewed":"2026-11-22T12:00:00"}"#.to_owned(), Some(Code::MissingField)),
            (view(r#","productId":null"#), Some(Code::MissingField)),
            (view(r#","productId":5"#), Some(Code::WrongType)),
            (view(r#","productId":"""#), Some(Code::OutOfRange)),
            (view(r#","viewCount":-1"#), Some(Code::OutOfRange)),
            (view(r#","viewCount":1.5"#), Some(Code::WrongType)),
            (view(r#","viewCount":"7""#), Some(Code::WrongType)),
            (view(r#","lastViewed":"yesterday""#), Some(Code::BadTimestamp)),
            (view(r#","lastViewed":"1970-01-01T00:00:00""#), Some(Code::BadTimestamp)),
            (view(r#","lastViewed":"2026-11-24T12:00:00""#), Some(Code::BadTimestamp)),
            (view(r#","lastViewed":"2026-11-22T14:00:00+02:00""#), None),
        ];
        for (json, expected) in table {
            assert_eq!(code(Event::Views, &json), expected, "{json}");
        }
    }

    #[test]
    fn an_optional_field_may_be_absent_and_a_rating_has_five_steps() {
        let feedback = |rating: i64| {
            format!(
                r#"{{"feedbackId":"f","customerId":"c","productId":"p","rating":{rating},"feedbackDate":"2026-11-22T12:00:00Z"}}"#
            )
        };
        assert_eq!(code(Event::Feedback, &feedback(5)), None);
        assert_eq!(code(Event::Feedback, &feedback(6)), Some(Code::OutOfRange));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for event in Event::ALL {
                decode(event, &bytes, now()).ok();
            }
        }

        #[test]
        fn zones_do_not_change_the_instant(micros in 946_684_800_000_000_i64..4_000_000_000_000_000, hours in -12_i32..12) {
            let utc = DateTime::from_timestamp_micros(micros).unwrap();
            let naive = utc.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
            prop_assert_eq!(timestamp_micros(&naive), Some(micros));
            let there = utc.with_timezone(&chrono::FixedOffset::east_opt(hours * 3600).unwrap());
            prop_assert_eq!(timestamp_micros(&there.to_rfc3339()), Some(micros));
        }
    }
}
