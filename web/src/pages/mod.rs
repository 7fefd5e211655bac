//! The pages.

use axum::{Router, routing::get};

use crate::App;

/// The routes of the pages.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/", get(async || "StreamCommerce"))
}
