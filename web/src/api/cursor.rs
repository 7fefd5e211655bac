//! Lists that are read by `offset`, or from `cursor` to `cursor` (Airflow's keyset pagination).

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use orchestrator::store::pages::{
    Listed,
    select::cursor::{COUNTED, NotTurned, Place, Turn, Turned},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    error::{ApiError, ApiResult},
    query::Params,
};

/// What a row has at most, as a rule.
const ROW_BYTES: usize = 1_280;

/// In front of a token: what is before the place.
const BEFORE: char = '~';

impl Params {
    /// `cursor`: which page, if the list is read by one; empty is the first.
    pub(crate) fn turn(&self) -> ApiResult<Option<Turn>> {
        let turn = |text| turn_of(text).ok_or_else(|| ApiError::bad_request("Invalid cursor token"));
        self.one("cursor").map(turn).transpose()
    }
}

/// Which page a cursor leads to; none if it is no cursor.
pub(crate) fn turn_of(text: &str) -> Option<Turn> {
    match (text, text.strip_prefix(BEFORE)) {
        ("", _) => Some(Turn::First),
        (_, Some(token)) => place_of(token).map(Turn::Before),
        (token, None) => place_of(token).map(Turn::After),
    }
}

fn place_of(token: &str) -> Option<Place> {
    let json = URL_SAFE_NO_PAD.decode(token).ok()?;
    serde_json::from_slice(&json).ok().map(Place)
}

/// The cursor that leads to what comes after a place.
pub(crate) fn after(place: &Place) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::json!(place.0).to_string())
}

/// The cursor that leads to what comes before a place.
pub(crate) fn before(place: &Place) -> String {
    format!("{BEFORE}{}", after(place))
}

impl From<NotTurned> for ApiError {
    fn from(error: NotTurned) -> Self {
        match error {
            NotTurned::Foreign => Self::bad_request("Cursor token does not match current query shape"),
            NotTurned::Nowhere(_) => Self::bad_request("Invalid cursor token"),
            NotTurned::Database(error) => error.into(),
        }
    }
}

/// The rows of a page, and what a list says beside them.
pub(crate) struct Found<R> {
    pub(crate) rows: Vec<R>,
    ways: Ways,
}

/// How many rows there are, and how to go on.
struct Ways {
    total: i64,
    /// Where counting ended, if it did.
    counted: Option<i64>,
    next: Option<String>,
    previous: Option<String>,
}

impl<R> From<Listed<R>> for Found<R> {
    fn from(Listed { rows, total }: Listed<R>) -> Self {
        Self { rows, ways: Ways { total, counted: None, next: None, previous: None } }
    }
}

impl<R> From<Turned<R>> for Found<R> {
    fn from(Turned { rows, previous, next, total }: Turned<R>) -> Self {
        let (next, previous) = (next.as_ref().map(after), previous.as_ref().map(before));
        Self { rows, ways: Ways { total, counted: Some(COUNTED), next, previous } }
    }
}

impl<R> Found<R> {
    /// The answer, in which the rows stand as they are `written`.
    pub(crate) fn answer<W: Serialize>(&self, plural: &'static str, written: &[W]) -> Response {
        // A page of task instances has 100 KB: a buffer that doubles moves them all, time and again.
        let mut body = Vec::with_capacity(256 + ROW_BYTES * written.len());
        match serde_json::to_writer(&mut body, &Listing { plural, rows: written, ways: &self.ways }) {
            Ok(()) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => ApiError::from(anyhow::Error::from(error)).into_response(),
        }
    }
}

struct Listing<'r, W> {
    plural: &'static str,
    rows: &'r [W],
    ways: &'r Ways,
}

impl<W: Serialize> Serialize for Listing<'_, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(Some(5))?;
        fields.serialize_entry(self.plural, self.rows)?;
        fields.serialize_entry("total_entries", &self.ways.total)?;
        fields.serialize_entry("total_entries_limit", &self.ways.counted)?;
        fields.serialize_entry("next_cursor", &self.ways.next)?;
        fields.serialize_entry("previous_cursor", &self.ways.previous)?;
        fields.end()
    }
}
