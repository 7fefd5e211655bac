//! The columns of an event's files, as the bucket knows them: which changes readers of older and newer files can bear.

use serde::{Deserialize, Serialize};

use crate::event::{Event, Kind};

/// What each file of an event holds, but for what says where its rows came from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Schema {
    /// The event.
    pub event: Event,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub holds: Holds,
    /// Whether a record without it is broken.
    pub required: bool,
}

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Text.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Float,
    /// Instants.
    Timestamp,
}

impl From<Kind> for Holds {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text { .. } => Self::Text,
            Kind::Integer { .. } => Self::Integer,
            Kind::Float { .. } => Self::Float,
            Kind::Timestamp => Self::Timestamp,
        }
    }
}

impl std::fmt::Display for Holds {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Text => "text",
            Self::Integer => "an integer",
            Self::Float => "a float",
            Self::Timestamp => "a timestamp",
        })
    }
}

impl Schema {
    /// The one that this program has.
    #[must_use]
    pub fn of(event: Event) -> Self {
        let columns = event.fields().iter().map(|field| Column {
            name: field.name.to_owned(),
            holds: field.kind.into(),
            required: field.is_required,
        });
        Self { event, columns: columns.collect() }
    }

    /// Why `newer` cannot follow this one, a sentence for each difference that readers, or producers of before, cannot
    /// bear; empty if it only adds optional columns, or no longer requires one.
    #[must_use]
    pub fn conflicts(&self, newer: &Self) -> Vec<String> {
        let find = |schema: &Self, name: &str| schema.columns.iter().find(|column| column.name == name).cloned();
        let changed = self.columns.iter().filter_map(|before| {
            let name = &before.name;
            match find(newer, name) {
                None => Some(format!("{name} is gone")),
                Some(after) if after.holds != before.holds => {
                    Some(format!("{name} was {} and is {}", before.holds, after.holds))
                }
                Some(after) if after.required && !before.required => {
                    Some(format!("{name} was optional and is required"))
                }
                Some(_) => None,
            }
        });
        let added = newer.columns.iter().filter(|column| column.required && find(self, &column.name).is_none());
        changed.chain(added.map(|column| format!("{} is new and required", column.name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, Holds, bool)]) -> Schema {
        let column = |(name, holds, required): &(&str, _, _)| Column {
            name: (*name).to_owned(),
            holds: *holds,
            required: *required,
        };
        Schema { event: Event::Feedback, columns: columns.iter().map(column).collect() }
    }

    #[test]
    fn what_readers_cannot_bear_is_named() {
        use Holds::{Integer, Text};
        let before = schema(&[("id", Text, true), ("comment", Text, false)]);
        for (after, expected) in [
            (schema(&[("id", Text, true), ("comment", Text, false)]), ""),
            (schema(&[("comment", Text, false), ("id", Text, false), ("city", Text, false)]), ""),
            (schema(&[("id", Text, true)]), "comment is gone"),
            (schema(&[("id", Integer, true), ("comment", Text, false)]), "id was text and is an integer"),
            (schema(&[("id", Text, true), ("comment", Text, true)]), "comment was optional and is required"),
            (
                schema(&[("comment", Integer, false), ("city", Text, true)]),
                "id is gone; comment was text and is an integer; city is new and required",
            ),
        ] {
            assert_eq!(before.conflicts(&after).join("; "), expected);
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        for event in Event::ALL {
            let json = serde_json::to_string(&Schema::of(event)).unwrap();
            assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), Schema::of(event));
        }
    }
}
