//! A page tells its browser when it has changed: the browser then fetches it and morphs what is shown.

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::{Query, Request},
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use orchestrator::commands::By;
use serde::Deserialize;
use tower::ServiceExt;

use super::ticking::still;
use crate::auth::Visitor;

/// The pages, for somebody who has been let in.
#[derive(Clone, Debug)]
pub(crate) struct Pages(pub(crate) Router);

/// How often a page is looked at, at most.
const EVERY: Duration = Duration::from_secs(1);

/// A page that takes long to make is looked at less often: this many times as long.
const PAUSE_PER_LOOK: u32 = 10;

/// Then the browser asks again, and has to show once more who it is.
const FOR_AT_MOST: Duration = Duration::from_secs(300);

#[derive(Debug, Deserialize)]
pub(crate) struct Of {
    page: String,
}

/// What it takes to look at a page again.
struct Look {
    pages: Router,
    page: String,
    by: By,
    visitor: Option<Visitor>,
    host: Option<header::HeaderValue>,
    seen: Option<u64>,
    pause: Duration,
    until: Instant,
}

pub(crate) async fn stream(
    Extension(Pages(pages)): Extension<Pages>,
    Extension(by): Extension<By>,
    Extension(visitor): Extension<Option<Visitor>>,
    Query(Of { page }): Query<Of>,
    headers: HeaderMap,
) -> Response {
    if !page.starts_with('/') || page.starts_with("/live") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let host = headers.get(header::HOST).cloned();
    let until = Instant::now() + FOR_AT_MOST;
    let look = Look { pages, page, by, visitor, host, seen: None, pause: Duration::ZERO, until };
    Sse::new(changes(look)).keep_alive(KeepAlive::default()).into_response()
}

fn changes(look: Look) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(look, async |mut look| {
        while Instant::now() < look.until {
            tokio::time::sleep(look.pause).await;
            let began = Instant::now();
            let now = look.at_page().await?;
            look.pause = EVERY.max(began.elapsed() * PAUSE_PER_LOOK);
            // The first look counts as a change: much may have happened since the browser was given the page.
            if look.seen.replace(now) != Some(now) {
                // A browser passes over an event without data.
                return Some((Ok(Event::default().event("changed").data("now")), look));
            }
        }
        None
    })
}

impl Look {
    /// What the page is now, in a number; none if there is no such page any more.
    async fn at_page(&self) -> Option<u64> {
        let mut request = Request::get(&self.page).body(Body::empty()).ok()?;
        request.headers_mut().extend(self.host.clone().map(|host| (header::HOST, host)));
        request.extensions_mut().insert(self.by.clone());
        request.extensions_mut().insert(self.visitor.clone());
        let answer = match self.pages.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        if answer.status() == StatusCode::NOT_FOUND {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        let page = to_bytes(answer.into_body(), usize::MAX).await.ok()?;
        still(std::str::from_utf8(&page).ok()?).for_each(|piece| piece.hash(&mut hasher));
        Some(hasher.finish())
    }
}
