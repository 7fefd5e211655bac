//! Who did what, when, and from where.

use askama::Template;
use axum::extract::{Query, State};
use orchestrator::store::pages::{
    Page as Part,
    events::{self, EventColumn, EventFilter, EventListed},
    select::{Direction, Test},
};
use serde::Deserialize;

use super::{
    links,
    page::{Frame, Page, PageResult},
    pager::Pager,
    words,
};
use crate::App;

/// Events on a page.
const EVENTS: i64 = 100;

#[derive(Template)]
#[template(path = "audit.html")]
pub(crate) struct AuditPage {
    events: Vec<EventListed>,
    wanted: Wanted,
    pager: Pager,
}

/// What the list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    dag: String,
    /// Of which run: its whole id.
    run: String,
    event: String,
    owner: String,
    offset: i64,
}

impl Frame for AuditPage {
    const SECTION: &'static str = "audit";
}

pub(crate) async fn show(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageResult<AuditPage> {
    let mut filter = EventFilter::default().order_by(EventColumn::EventId, Direction::Descending);
    let asked =
        [(EventColumn::DagId, &wanted.dag), (EventColumn::Event, &wanted.event), (EventColumn::Owner, &wanted.owner)];
    for (column, text) in asked.into_iter().filter(|(_, text)| !text.is_empty()) {
        filter = filter.with(column, Test::Contains(text.clone()));
    }
    if !wanted.run.is_empty() {
        filter = filter.only(EventColumn::RunId, &wanted.run);
    }
    let part = Part { limit: EVENTS, offset: wanted.offset.max(0) };
    let listed = events::list(&mut *app.pool.acquire().await?, &filter, part).await?;
    let pairs =
        [("dag", wanted.dag.as_str()), ("run", &wanted.run), ("event", &wanted.event), ("owner", &wanted.owner)];
    let pager = Pager::new(part, listed.total, &pairs);
    Ok(Page(AuditPage { events: listed.rows, wanted, pager }))
}

impl AuditPage {
    /// What else is known of an event, without what has a column of its own.
    fn rest(&self, event: &EventListed) -> String {
        let fields = event.extra.as_object().into_iter().flatten();
        let texts = fields.filter(|(_, value)| !value.is_null()).map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}: {text}"),
            None => format!("{name}: {value}"),
        });
        texts.collect::<Vec<_>>().join(", ")
    }
}
