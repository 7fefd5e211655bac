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
}

pub(super) struct Line {
    pub(super) number: i64,
    pub(super) at: LineMoment,
    pub(super) level: String,
    pub(super) message: String,
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
        let mut lines = logs::last_of_try(conn, instance.instance, try_number, &filter, LINES + 1).await?;
        let is_cut = lines.len() as i64 > LINES;
        if is_cut {
            lines.remove(0);
        }
        let earlier = lines.first().filter(|_| is_cut).map(|line| line.line);
        let lines = lines.into_iter().map(|line| Line {
            number: line.line,
            at: LineMoment(line.logged_at),
            level: line.level,
            message: line.message,
        });
        Ok(Self { lines: lines.collect(), earlier })
    }

    /// The levels that can be chosen.
    pub(super) fn levels(&self) -> impl Iterator<Item = &'static str> {
        LEVELS.into_iter().map(|(level, _)| level)
    }
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
