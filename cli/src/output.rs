//! Answers on stdout: tables for people, JSON for programs. Complaints on stderr.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::arguments::OutputFormat;

/// Writes a list: the rows as they are for programs, their cells for people.
///
/// # Errors
/// A row cannot be written as JSON.
pub(crate) fn list<R: Serialize>(
    format: OutputFormat,
    header: &[&str],
    rows: &[R],
    cells: impl Fn(&R) -> Vec<String>,
) -> anyhow::Result<()> {
    match format {
        OutputFormat::Json => say(&serde_json::to_string_pretty(rows)?),
        OutputFormat::Table => {
            let mut table = Table::new();
            *table.style_mut() = presets::NOTHING;
            table.set_header(header.iter().copied());
            for row in rows {
                table.add_row(cells(row));
            }
            say(&table.trim_fmt());
        }
    }
    Ok(())
}

/// Writes a line of the answer. A reader that has gone away is no error.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Writes why a command failed.
pub(crate) fn complain(line: &str) {
    writeln!(std::io::stderr(), "error: {line}").ok();
}

/// An instant as people read it.
pub(crate) fn instant(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
