//! What was done, told on the page that comes after it: an action leads there with `?told=saved&of=narrow`.

use axum::{
    extract::{Query, Request},
    middleware::Next,
    response::{Redirect, Response},
};
use serde::Deserialize;

use super::links;

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
    Made,
    Saved,
    Deleted,
    Revoked,
    Paused,
    Resumed,
    Cancelled,
    Triggered,
}

impl Deed {
    fn name(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Saved => "saved",
            Self::Deleted => "deleted",
            Self::Revoked => "revoked",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Cancelled => "cancelled",
            Self::Triggered => "triggered",
        }
    }
}

/// What was done, and to what.
#[derive(Clone, Debug, Deserialize)]
struct Told {
    told: Deed,
    #[serde(default)]
    of: String,
}

/// An address is written by anybody; the name of something is not longer.
const LONGEST: usize = 300;

tokio::task_local! {
    static TOLD: Option<Told>;
}

/// To a page of ours, which tells what was done.
pub(crate) fn after(page: &str, deed: Deed, of: &str) -> Redirect {
    let told = links::query(&[("told", deed.name()), ("of", of)]);
    Redirect::to(&links::with(page, &told))
}

/// What was done to how many, as a page learns it that tells it in words of its own: `?done=clear&count=3`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Done<D> {
    pub(crate) done: Option<D>,
    #[serde(default)]
    pub(crate) count: usize,
}

/// To a page of ours, which tells what was done to how many.
pub(crate) fn after_all(page: &str, done: &str, count: usize) -> Redirect {
    Redirect::to(&links::with(page, &links::query(&[("done", done), ("count", &count.to_string())])))
}

/// Lets the page of this request tell it.
pub(crate) async fn hear(request: Request, next: Next) -> Response {
    let told = Query::<Told>::try_from_uri(request.uri()).ok().map(|Query(told)| told);
    TOLD.scope(told.filter(|told| told.of.len() <= LONGEST), next.run(request)).await
}

/// What was done before this page, in words.
pub(crate) fn now() -> Option<String> {
    let told = TOLD.try_with(Clone::clone).ok().flatten()?;
    let of = told.of;
    Some(match told.told {
        Deed::Triggered => "Triggered: it is in line now.".to_owned(),
        Deed::Cancelled => format!("{of} is cancelled: its runs that had not started have failed."),
        Deed::Resumed => format!("{of} goes on."),
        deed => format!("{of} is {}.", deed.name()),
    })
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn the_page_that_comes_after_is_told() {
        let to =
            |page| after(page, Deed::Saved, "a b").into_response().headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(to("/pools"), "/pools?told=saved&of=a%20b");
        assert_eq!(to("/runs?state=failed"), "/runs?told=saved&of=a%20b&state=failed");
    }
}
