//! Answers for people, and for programs.

use std::io::Write;

use comfy_table::{Table, presets};
use serde::Serialize;
use streaming::commands::{
    dead_letters::{DeadLetter, Summary},
    status::Partition,
    verify::Verdict,
};

/// How an answer is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

pub(crate) fn status(partitions: &[Partition], output: Output) -> anyhow::Result<()> {
    const HEADER: [&str; 9] = [
        "topic",
        "partition",
        "committed",
        "in Kafka",
        "lag",
        "last commit",
        "rows",
        "dead letters",
        "lost or skipped",
    ];
    let row = |of: &Partition| {
        [
            of.topic.clone(),
            of.partition.to_string(),
            of.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
            of.in_kafka.to_string(),
            of.lag.to_string(),
            of.last_commit.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string()),
            of.rows.to_string(),
            of.dead_letters.to_string(),
            (of.lost + of.skipped).to_string(),
        ]
    };
    write(partitions, HEADER, partitions.iter().map(row), output)
}

pub(crate) fn summaries(found: &[Summary], output: Output) -> anyhow::Result<()> {
    const HEADER: [&str; 5] = ["topic", "code", "count", "for example at", "message"];
    let row = |of: &Summary| {
        let (partition, offset) = of.example;
        let (count, place) = (of.count.to_string(), format!("{partition}/{offset}"));
        [of.topic.clone(), of.code.clone(), count, place, of.message.clone()]
    };
    write(found, HEADER, found.iter().map(row), output)
}

pub(crate) fn letters(found: &[DeadLetter], output: Output) -> anyhow::Result<()> {
    const HEADER: [&str; 5] = ["topic", "place", "code", "message", "value"];
    let row = |of: &DeadLetter| {
        let value = of.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        [of.topic.clone(), format!("{}/{}", of.partition, of.offset), of.code.clone(), of.message.clone(), value]
    };
    write(found, HEADER, found.iter().map(row), output)
}

pub(crate) fn verdict(verdict: &Verdict, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        return Ok(writeln!(out, "{}", serde_json::to_string(verdict)?)?);
    }
    let Verdict { partitions, manifests, files, rows, dead_letters, unpublished, faults } = verdict;
    writeln!(
        out,
        "{partitions} partitions, {manifests} manifests, {files} files: {rows} rows, {dead_letters} dead letters; \
         {unpublished} files are committed and not published yet"
    )?;
    for fault in faults {
        writeln!(out, "WRONG {fault}")?;
    }
    Ok(writeln!(out, "{}", if faults.is_empty() { "all is as it should be" } else { "something is wrong" })?)
}

fn write<const N: usize>(
    whole: &[impl Serialize],
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    output: Output,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if output == Output::Json {
        return Ok(writeln!(out, "{}", serde_json::to_string(whole)?)?);
    }
    let mut table = Table::new();
    *table.style_mut() = presets::NOTHING;
    table.set_header(header).add_rows(rows);
    Ok(writeln!(out, "{}", table.trim_fmt())?)
}
