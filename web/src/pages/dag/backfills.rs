//! The backfills of a DAG, and the dialog that makes one: first which runs it would make, then the deed.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::Redirect,
};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use orchestrator::{
    commands::{self, Backfill, By, OnVersion, Refused},
    ids::DagId,
    store::backfills::Reprocess,
};
use serde::Deserialize;
use serde_json::Value;

use super::Head;
use crate::{
    App,
    pages::{
        Frame, Page, PageError, PageResult,
        backfills::{List, Wanted},
        links,
        told::{self, Deed},
        words,
    },
};

/// Dates that a preview names.
const NAMED: usize = 50;

#[derive(Template)]
#[template(path = "dag/backfills.html")]
pub(crate) struct BackfillsPage {
    head: Head,
    list: List,
    asked: Asked,
    plan: Option<Plan>,
}

impl Frame for BackfillsPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        self.plan.is_none() && self.list.is_live()
    }
}

/// What would be made, or why nothing can be.
enum Plan {
    Runs { count: usize, named: Vec<DateTime<Utc>> },
    Refused(String),
}

/// What a form says of a backfill.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    from: String,
    to: String,
    reprocess: Reprocess,
    backwards: bool,
    max_active_runs: Option<i32>,
    conf: String,
}

impl Asked {
    fn at_once(&self) -> i32 {
        self.max_active_runs.unwrap_or(10)
    }

    fn reprocesses(&self) -> [(&'static str, &'static str, bool); 3] {
        [
            ("none", "none: only missing runs are made", Reprocess::None),
            ("failed", "run again if they failed", Reprocess::Failed),
            ("completed", "run again", Reprocess::Completed),
        ]
        .map(|(value, text, which)| (value, text, which == self.reprocess))
    }

    fn backfill(&self, dag_id: DagId) -> Result<Backfill, String> {
        let day = |text: &str| text.parse::<NaiveDate>().map_err(|_| format!("{text:?} is no date"));
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let conf = match self.conf.trim() {
            "" => None,
            text => serde_json::from_str(text).map(Some).map_err(|error| format!("conf is not JSON: {error}"))?,
        };
        if conf.as_ref().is_some_and(|conf| !Value::is_object(conf)) {
            return Err("conf must be a JSON object".to_owned());
        }
        Ok(Backfill {
            dag_id,
            from_date: midnight(day(&self.from)?),
            // The last day is in it, to its end.
            to_date: midnight(day(&self.to)?) + TimeDelta::days(1) - TimeDelta::microseconds(1),
            run_backwards: self.backwards,
            conf,
            reprocess: self.reprocess,
            version: OnVersion::Latest,
            max_active_runs: self.at_once(),
        })
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    Query(wanted): Query<Wanted>,
    Query(asked): Query<Asked>,
) -> PageResult<BackfillsPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, _) = Head::load(&app, &mut conn, dag_id, "/backfills").await?;
    let list = List::load(&mut conn, Some(&head.dag_id), wanted).await?;
    let plan = match (asked.from.is_empty(), asked.backfill(head.dag_id.clone())) {
        (true, _) => None,
        (false, Err(text)) => Some(Plan::Refused(text)),
        (false, Ok(backfill)) => Some(match commands::preview_backfill(&mut conn, &app.graphs, &backfill).await {
            Ok(dates) => Plan::Runs { count: dates.len(), named: dates.into_iter().take(NAMED).collect() },
            Err(Refused::Failed(error)) => return Err(error.into()),
            Err(refused) => Plan::Refused(refused.to_string()),
        }),
    };
    Ok(Page(BackfillsPage { head, list, asked, plan }))
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(dag_id): Path<DagId>,
    Form(asked): Form<Asked>,
) -> Result<Redirect, PageError> {
    let page = format!("{}/backfills", links::dag(&dag_id));
    let backfill = asked.backfill(dag_id).map_err(Refused::Invalid)?;
    let made = commands::create_backfill(&mut *app.pool.acquire().await?, &app.graphs, &backfill, &by).await?;
    app.wake.everybody();
    Ok(told::after(&page, Deed::Made, &format!("Backfill {}", made.0)))
}

impl BackfillsPage {
    fn here(&self) -> String {
        format!("{}/backfills", self.head.link)
    }

    /// As a form says it.
    fn reprocess(&self) -> &'static str {
        self.asked.reprocesses().into_iter().find(|(.., is_chosen)| *is_chosen).map_or("none", |(value, ..)| value)
    }
}
