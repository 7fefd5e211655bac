//! One record: JSON to the values of its event's fields, or the reason why not.
//!
//! Two decoders that agree. `fast` reads a SIMD tape and knows only valid records; whatever it does not take goes to
//! `strict`, which decides, and can say what is wrong. Of a name that stands twice in a record the last one counts.

mod fast;
mod instant;
mod strict;

use chrono::{DateTime, Utc};
use lake::event::{Event, FIELDS_MAX};
use simd_json::{Buffers, Tape};

pub use self::instant::timestamp_micros;

/// The value of a field, as its column takes it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Cell<'a> {
    /// Nothing, where that is allowed.
    Null,
    /// Text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Microseconds since 1970, UTC.
    Timestamp(i64),
}

/// The values of a record: of the event's fields, in their order; what follows is null.
pub type Cells<'a> = [Cell<'a>; FIELDS_MAX];

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
    /// It came later than records may come.
    TooLate,
    /// It is from further in the future than clocks go wrong.
    TooEarly,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::MalformedJson,
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::BadTimestamp,
        Self::TooLate,
        Self::TooEarly,
    ];

    /// As the dead letters write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::BadTimestamp => "bad_timestamp",
            Self::TooLate => "too_late",
            Self::TooEarly => "too_early",
        }
    }
}

/// Decodes the records of one event, one after the other, in memory that it keeps.
pub struct Decoder {
    event: Event,
    /// The parser writes into what it parses.
    input: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Decoder").field("event", &self.event).finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder for that event.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self { event, input: Vec::new(), buffers: Buffers::default(), tape: Tape::null() }
    }

    /// Decodes a record and checks every field; `ingested` is what "ahead" is measured from. Fields that the event does
    /// not have are left out. What it is, or the first thing that is wrong with it, goes to `take`.
    pub fn decode<T>(
        &mut self,
        payload: &[u8],
        ingested: DateTime<Utc>,
        take: impl FnOnce(Result<&Cells<'_>, Broken>) -> T,
    ) -> T {
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let padding = simd_json::INPUT_PADDING;
        self.input.clear();
        self.input.extend_from_slice(payload);
        self.input.resize(payload.len() + padding, 0);
        let parsed = simd_json::fill_tape_padded(&mut self.input, payload.len(), &mut self.buffers, &mut tape);
        let cells = parsed.ok().and_then(|()| fast::cells(self.event, &tape.0, ingested));
        let taken = match cells {
            Some(cells) => take(Ok(&cells)),
            None => strict::decode(self.event, payload, ingested, take),
        };
        self.tape = tape.reset();
        taken
    }
}

/// No event is older than the year 2000, and none lies more than a day ahead of when it was read.
fn is_sane(micros: i64, ingested: DateTime<Utc>) -> bool {
    let latest = ingested.timestamp_micros() + lake::event::TIMESTAMP_AHEAD_MICROS;
    (lake::event::TIMESTAMP_MIN_MICROS..=latest).contains(&micros)
}

/// Whether a text has from 1 to so many characters; few are counted, for bytes tell most.
fn has_length(text: &str, max_chars: usize) -> bool {
    !text.is_empty() && (text.len() <= max_chars || text.chars().count() <= max_chars)
}

#[cfg(test)]
mod tests;
