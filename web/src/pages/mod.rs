//! The pages: one file each, with the template of the same name. Every action is a form that works without
//! JavaScript; with it, a page that shows something running brings itself up to date.

mod assets;
mod clear;
mod dag;
mod dags;
mod drawing;
mod page;
mod run;
mod task;

use axum::{
    Router,
    response::Redirect,
    routing::{get, post},
};

pub(crate) use page::{Page, PageError, PageResult, refused};

use crate::App;

/// The routes of the pages.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/", get(async || Redirect::to("/dags")))
        .route("/assets/style.css", get(assets::style))
        .route("/assets/live.js", get(assets::live))
        .route("/dags", get(dags::show))
        .route("/dags/{dag_id}", get(dag::show))
        .route("/dags/{dag_id}/pause", post(dags::pause))
        .route("/dags/{dag_id}/trigger", post(dags::trigger))
        .route("/dags/{dag_id}/runs/{run_id}", get(run::show))
        .route("/dags/{dag_id}/runs/{run_id}/clear", get(clear::preview).post(clear::clear))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}", get(task::show))
        .fallback(page::not_found)
}
