//! The pages: one file each, with the template of the same name. Every action is a form that works without
//! JavaScript; with it, a page that may change brings itself up to date.

mod account;
mod act;

mod assets;
mod audit;
mod backfills;
mod bars;
mod chosen;
mod connections;
mod dag;
mod dags;
mod drawing;
mod files;
mod health;
mod home;
mod links;
mod live;
mod page;
mod pager;
mod picture;
mod pools;
mod run;
mod run_list;
mod runs;
mod sorting;
mod streaming;
mod task;
mod tasks;
pub(crate) mod theme;
mod ticking;
mod told;
mod trigger;
mod users;
mod variables;
pub(crate) mod waits;
mod words;

use axum::{
    Extension, Router, middleware,
    routing::{get, post},
};

pub(crate) use links::local;
pub use links::part;
pub(crate) use page::{Frame, Page, PageError, PageResult, refused};

use crate::{App, auth};

/// The routes of the pages.
pub(crate) fn router(app: &App) -> Router<App> {
    let pages = || pages().layer(middleware::from_fn(told::hear));
    let live = live::Pages(pages().layer(middleware::from_fn(auth::permit)).with_state(app.clone()));
    pages().route("/live", get(live::stream).layer(Extension(live))).fallback(page::not_found)
}

fn pages() -> Router<App> {
    Router::new()
        .route("/", get(home::show))
        .route("/theme", post(theme::choose))
        .route("/audit", get(audit::show))
        .route("/health", get(health::show))
        .route("/tasks", get(tasks::show))
        .route("/tasks/chosen", get(chosen::instances::ask).post(chosen::instances::act))
        .route("/pools", get(pools::show).post(pools::create))
        .route("/pools/{name}", post(pools::change))
        .route("/pools/{name}/delete", post(pools::delete))
        .route("/static/{name}", get(files::show))
        .route("/assets", get(assets::show))
        .route("/assets/{id}", get(assets::one::show).post(assets::one::update))
        .route("/streaming", get(streaming::show))
        .route("/backfills", get(backfills::show))
        .route("/backfills/{id}/{deed}", post(backfills::act))
        .route("/variables", get(variables::show).post(variables::create))
        .route("/variables/{key}", post(variables::change))
        .route("/variables/{key}/delete", post(variables::delete))
        .route("/connections", get(connections::show).post(connections::create))
        .route("/connections/{id}", post(connections::change))
        .route("/connections/{id}/delete", post(connections::delete))
        .route("/users", get(users::show).post(users::create))
        .route("/users/{name}", post(users::change))
        .route("/users/{name}/password", post(users::reset))
        .route("/users/{name}/delete", post(users::delete))
        .route("/users/{name}/grant", post(users::grant))
        .route("/users/{name}/revoke", post(users::revoke))
        .route("/account", get(account::show))
        .route("/account/tokens", post(account::create_token))
        .route("/account/tokens/{id}/delete", post(account::revoke_token))
        .route("/account/password", post(account::change_password))
        .route("/runs", get(runs::show))
        .route("/runs/chosen", get(chosen::runs::ask).post(chosen::runs::act))
        .route("/dags", get(dags::show))
        .nest("/dags/{dag_id}", of_dag())
        .nest("/dags/{dag_id}/runs/{run_id}", of_run())
}

fn of_dag() -> Router<App> {
    Router::new()
        .route("/", get(dag::grid::show))
        .route("/graph", get(dag::graph::show))
        .route("/runs", get(dag::runs::show))
        .route("/calendar", get(dag::calendar::show))
        .route("/tasks", get(dag::tasks::show))
        .route("/backfills", get(dag::backfills::show).post(dag::backfills::create))
        .route("/code", get(dag::code::show))
        .route("/versions", get(dag::versions::show))
        .route("/details", get(dag::details::show))
        .route("/delete", get(dag::delete::ask).post(dag::delete::act))
        .route("/pause", post(dags::pause))
        .route("/favorite", post(dags::favorite))
        .route("/trigger", get(trigger::ask).post(trigger::trigger))
}

fn of_run() -> Router<App> {
    Router::new()
        .route("/", get(run::show))
        .route("/note", post(run::note))
        .route("/act/{deed}", get(act::ask).post(act::act))
        .route("/tasks/{task_id}", get(task::show))
        .route("/tasks/{task_id}/note", post(task::note))
        .route("/tasks/{task_id}/log.txt", get(task::download))
}
