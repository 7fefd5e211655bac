//! What commands write: an answer for people, for programs, or both; complaints on stderr.

use std::io::Write;

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::arguments::OutputFormat;

/// Writes a list: the rows as they are for programs, their cells for people.
///
/// # Errors
/// A row cannot be written.
pub(crate) fn list<R: Serialize>(
    format: OutputFormat,
    header: &[&str],
    rows: &[R],
    cells: impl Fn(&R) -> Vec<String>,
) -> anyhow::Result<()> {
    if format != OutputFormat::Table {
        return data(format, &rows);
    }
    let mut table = Table::new();
    *table.style_mut() = presets::NOTHING;
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(cells(row));
    }
    say(&table.trim_fmt());
    Ok(())
}

/// Writes rows of the API: for people these columns, each a heading and a field.
///
/// # Errors
/// A row cannot be written.
pub(crate) fn rows(format: OutputFormat, columns: &[(&str, &str)], rows: &[Value]) -> anyhow::Result<()> {
    let header: Vec<_> = columns.iter().map(|(heading, _)| *heading).collect();
    list(format, &header, rows, |row| columns.iter().map(|(_, field)| cell(&row[*field])).collect())
}

/// Writes one thing of the API: for people a line a field.
///
/// # Errors
/// It cannot be written.
pub(crate) fn one(format: OutputFormat, thing: &Value) -> anyhow::Result<()> {
    let fields: Vec<_> = thing.as_object().into_iter().flatten().collect();
    match format {
        OutputFormat::Table => {
            list(format, &["field", "value"], &fields, |(name, value)| vec![(*name).clone(), cell(value)])
        }
        OutputFormat::Json | OutputFormat::Yaml => data(format, thing),
    }
}

/// Writes something as programs read it.
fn data(format: OutputFormat, thing: &impl Serialize) -> anyhow::Result<()> {
    match format {
        OutputFormat::Yaml => say(serde_yaml_ng::to_string(thing)?.trim_end()),
        OutputFormat::Json | OutputFormat::Table => say(&serde_json::to_string_pretty(thing)?),
    }
    Ok(())
}

/// A value as people read it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.is_empty() => "-".to_owned(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name}: {}", cell(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Writes a line of the answer. A reader that has gone away is no error.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Writes why a command failed.
pub(crate) fn complain(line: &str) {
    writeln!(std::io::stderr(), "error: {line}").ok();
}
