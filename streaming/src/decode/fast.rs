//! The decoder for records that are as they should be: one walk over the tape, nothing allocated.

use chrono::{DateTime, Utc};
use lake::event::{Event, FIELDS_MAX, Field, Kind};
use simd_json::{Node, StaticNode};

use super::{Cell, Cells, has_length, is_sane, timestamp_micros};

/// The values of a valid record; none if it may not be one.
pub(super) fn cells<'i>(event: Event, tape: &[Node<'i>], ingested: DateTime<Utc>) -> Option<Cells<'i>> {
    let (&Node::Object { len, .. }, nodes) = tape.split_first()? else { return None };
    let fields = event.fields();
    let mut values: [Option<&Node<'i>>; FIELDS_MAX] = [None; FIELDS_MAX];
    // Writers keep an order: the field after the one before is tried first.
    let (mut at, mut expected) = (0, 0);
    for _ in 0..len {
        let &Node::String(name) = nodes.get(at)? else { return None };
        let value = nodes.get(at + 1)?;
        at += 2 + nested(value);
        let found = match fields.get(expected) {
            Some(field) if field.name == name => Some(expected),
            _ => fields.iter().position(|field| field.name == name),
        };
        if let Some(field) = found {
            values[field] = Some(value);
            expected = field + 1;
        }
    }
    let mut cells = [Cell::Null; FIELDS_MAX];
    for ((cell, value), field) in cells.iter_mut().zip(values).zip(fields) {
        *cell = match value {
            None | Some(Node::Static(StaticNode::Null)) if !field.is_required => Cell::Null,
            value => valid(field, value?, ingested)?,
        };
    }
    Some(cells)
}

/// How many nodes a value has besides its own.
fn nested(value: &Node<'_>) -> usize {
    match value {
        Node::Object { count, .. } | Node::Array { count, .. } => *count,
        Node::String(_) | Node::Static(_) => 0,
    }
}

fn valid<'i>(field: &Field, value: &Node<'i>, ingested: DateTime<Utc>) -> Option<Cell<'i>> {
    match (field.kind, *value) {
        (Kind::Text { max_chars, .. }, Node::String(text)) => has_length(text, max_chars).then_some(Cell::Text(text)),
        (Kind::Integer { min, max }, Node::Static(number)) => {
            let number = match number {
                StaticNode::I64(number) => number,
                StaticNode::U64(number) => i64::try_from(number).ok()?,
                _ => return None,
            };
            (min..=max).contains(&number).then_some(Cell::Integer(number))
        }
        (Kind::Float { min, max }, Node::Static(number)) => {
            let number = match number {
                StaticNode::F64(number) => number,
                StaticNode::I64(number) => number as f64,
                StaticNode::U64(number) => number as f64,
                _ => return None,
            };
            (min..=max).contains(&number).then_some(Cell::Float(number))
        }
        (Kind::Timestamp, Node::String(text)) => {
            let micros = timestamp_micros(text)?;
            is_sane(micros, ingested).then_some(Cell::Timestamp(micros))
        }
        _ => None,
    }
}
