//! One asset: its updates, whence they came, and which runs they made.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::Redirect,
};
use orchestrator::{
    commands::{self, By, Refused},
    store::pages::{
        Page as Part,
        assets::{self, AssetColumn, AssetFilter, EventColumn, EventFilter, EventListed, MadeRun},
        select::Direction,
    },
};
use serde::Deserialize;
use serde_json::Value;

use super::{Row, rows};
use crate::{
    App,
    pages::{
        links,
        page::{Frame, Page, PageError, PageResult, filled},
        pager::Pager,
        told::{self, Deed},
        words,
    },
};

/// Updates on a page.
const EVENTS: i64 = 50;

#[derive(Template)]
#[template(path = "assets/one.html")]
pub(crate) struct AssetPage {
    row: Row,
    events: Vec<EventListed>,
    made: HashMap<i64, Vec<MadeRun>>,
    pager: Pager,
}

impl Frame for AssetPage {
    const SECTION: &'static str = "assets";

    fn is_live(&self) -> bool {
        true
    }
}

impl AssetPage {
    /// The runs that an update made.
    fn made(&self, event: &EventListed) -> &[MadeRun] {
        self.made.get(&event.event_id).map_or(&[], Vec::as_slice)
    }

    /// What came with an update, if anything did.
    fn extra(&self, event: &EventListed) -> Option<String> {
        let has_some = event.extra.as_object().is_none_or(|fields| !fields.is_empty()) && !event.extra.is_null();
        has_some.then(|| event.extra.to_string())
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    offset: i64,
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<i32>,
    Query(wanted): Query<Wanted>,
) -> PageResult<AssetPage> {
    let mut conn = app.pool.acquire().await?;
    let row = find(&mut conn, id).await?;
    let filter = EventFilter::default().only(EventColumn::AssetId, id);
    let filter = filter.order_by(EventColumn::EventId, Direction::Descending);
    let part = Part { limit: EVENTS, offset: wanted.offset.max(0) };
    let events = assets::events(&mut conn, &filter, part).await?;
    let ids: Vec<_> = events.rows.iter().map(|event| event.event_id).collect();
    let mut made: HashMap<_, Vec<_>> = HashMap::new();
    for run in assets::made_runs(&mut conn, &ids).await? {
        made.entry(run.event_id).or_default().push(run);
    }
    let pager = Pager::new(part, events.total, &[]);
    Ok(Page(AssetPage { row, events: events.rows, made, pager }))
}

async fn find(conn: &mut sqlx::PgConnection, id: i32) -> Result<Row, PageError> {
    let filter = AssetFilter::default().only(AssetColumn::AssetId, id);
    let listed = assets::list(conn, &filter, Part { limit: 1, offset: 0 }).await?.rows;
    rows(conn, listed).await?.pop().ok_or_else(|| PageError::not_found(format!("There is no asset {id}.")))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    #[serde(default)]
    extra: String,
}

/// Says that it was updated: the DAGs that wait for it run.
pub(crate) async fn update(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(id): Path<i32>,
    Form(said): Form<Said>,
) -> Result<Redirect, PageError> {
    let extra = filled(said.extra.trim()).map_or(Ok(Value::Object(serde_json::Map::new())), serde_json::from_str);
    let extra = extra.map_err(|error| Refused::Invalid(format!("what comes with it is not JSON: {error}")))?;
    let mut conn = app.pool.acquire().await?;
    let row = find(&mut conn, id).await?;
    commands::update_asset(&mut conn, &row.asset.name, &extra, &by).await?;
    drop(conn);
    app.wake.everybody();
    Ok(told::after(&row.link, Deed::Saved, "The update"))
}
