//! The log of a try: its end first, for that is where one looks.

use axum::{
    extract::{Path, Query, State},
    http::header,
    response::IntoResponse,
};
use orchestrator::{
    ids::{DagId, RunId, TaskId},
    store::{
        logs::{self, LogFilter},
        pages::instances::InstanceListed,
    },
};
use sqlx::PgConnection;

use super::{PageError, Wanted, find};
use crate::{App, api::line_text, pages::words::LineMoment};

/// Lines on a page.
const LINES: i64 = 2_000;

/// Lines that are read at once for a download.
const PART: i64 = 20_000;

/// The levels, each with those that are worse.
const LEVELS: [(&str, &[&str]); 3] =
    [("INFO", &["INFO", "WARN", "ERROR"]), ("WARN", &["WARN", "ERROR"]), ("ERROR", &["ERROR"])];

/// A part of a log.
pub(super) struct Log {
    pub(super) lines: Vec<Line>,
    /// The first line that is shown, if there are others before it.
    pub(super) earlier: Option<i64>,
    /// The last one, if there are others after it.
    pub(super) later: Option<i64>,
}

pub(super) struct Line {
    pub(super) number: i64,
    pub(super) at: LineMoment,
    pub(super) level: String,
    /// In parts, each with whether it is what was searched for.
    pub(super) message: Vec<(bool, String)>,
}

impl Log {
    pub(super) async fn load(
        conn: &mut PgConnection,
        instance: &InstanceListed,
        try_number: i32,
        wanted: &Wanted,
    ) -> sqlx::Result<Self> {
        let levels = LEVELS.iter().find(|(level, _)| *level == wanted.level).map_or(&[][..], |(_, levels)| levels);
        let filter = LogFilter {
            levels: levels.iter().map(|level| (*level).to_owned()).collect(),
            text: wanted.q.clone(),
            before: wanted.before,
        };
        let of = instance.instance;
        let (mut lines, is_from_start) = match wanted.after {
            Some(after) => (logs::next_of_try(conn, of, try_number, &filter, after, LINES + 1).await?, true),
            None => (logs::last_of_try(conn, of, try_number, &filter, LINES + 1).await?, false),
        };
        let is_cut = lines.len() as i64 > LINES;
        match (is_cut, is_from_start) {
            (true, true) => drop(lines.pop()),
            (true, false) => drop(lines.remove(0)),
            (false, _) => {}
        }
        let [first, last] = [lines.first(), lines.last()].map(|line| line.map(|line| line.line));
        let lines = lines.into_iter().map(|line| Line {
            number: line.line,
            at: LineMoment(line.logged_at),
            level: line.level,
            message: found(&line.message, &wanted.q),
        });
        Ok(Self {
            lines: lines.collect(),
            earlier: first.filter(|_| is_cut || is_from_start),
            later: last.filter(|_| if is_from_start { is_cut } else { wanted.before.is_some() }),
        })
    }

    /// The levels that can be chosen.
    pub(super) fn levels(&self) -> impl Iterator<Item = &'static str> {
        LEVELS.into_iter().map(|(level, _)| level)
    }
}

/// A text in parts: what was searched for, whatever its case, and what is around it.
fn found(text: &str, wanted: &str) -> Vec<(bool, String)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !wanted.is_empty() {
        let is_here =
            |at: &usize| rest.get(*at..*at + wanted.len()).is_some_and(|part| part.eq_ignore_ascii_case(wanted));
        let Some(at) = (0..rest.len()).find(is_here) else { break };
        parts.push((false, rest[..at].to_owned()));
        parts.push((true, rest[at..at + wanted.len()].to_owned()));
        rest = &rest[at + wanted.len()..];
    }
    parts.push((false, rest.to_owned()));
    parts.retain(|(_, part)| !part.is_empty());
    parts
}

/// All of the log of a try, as a text file.
pub(crate) async fn download(
    State(app): State<App>,
    Path((dag_id, run_id, task_id)): Path<(DagId, RunId, TaskId)>,
    Query(wanted): Query<Wanted>,
) -> Result<impl IntoResponse, PageError> {
    let mut conn = app.pool.acquire().await?;
    let instance = find(&mut conn, &dag_id, &run_id, &task_id, wanted.map_index).await?;
    let number = wanted.r#try.unwrap_or(instance.try_number);
    let (mut text, mut after) = (String::new(), 0);
    loop {
        let lines = logs::of_try(&mut conn, instance.instance, number, after, PART).await?;
        text.extend(lines.iter().map(line_text));
        match lines.last() {
            Some(last) if lines.len() as i64 == PART => after = last.line,
            _ => break,
        }
    }
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"try-{number}.log\"")),
    ];
    Ok((headers, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_searched_for_is_marked() {
        let marked = |text, wanted| {
            let part = |(is_found, part): (bool, String)| if is_found { format!("[{part}]") } else { part };
            found(text, wanted).into_iter().map(part).collect::<String>()
        };
        assert_eq!(marked("Rows: 3 rows", "rows"), "[Rows]: 3 [rows]");
        assert_eq!(
            (marked("äää", "ä"), marked("äb", "b"), marked("", "x"), marked("a", "")),
            ("[ä][ä][ä]".into(), "ä[b]".into(), String::new(), "a".into())
        );
    }
}
