//! The pools: who has their slots, and who waits for them.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, State},
    response::Redirect,
};
use orchestrator::{
    commands::{self, By},
    dag::DEFAULT_POOL,
    store::pools::{self, NewPool, PoolListed},
};
use serde::Deserialize;

use super::{
    links,
    page::{Frame, Page, PageError, PageResult, filled},
    told::{self, Deed},
};
use crate::App;

#[derive(Template)]
#[template(path = "pools.html")]
pub(crate) struct PoolsPage {
    pools: Vec<PoolListed>,
}

impl Frame for PoolsPage {
    const SECTION: &'static str = "pools";

    fn is_live(&self) -> bool {
        true
    }
}

impl PoolsPage {
    fn link(&self, pool: &PoolListed) -> String {
        format!("/pools/{}", links::part(&pool.name))
    }

    /// Its tasks that are in a state.
    fn tasks(&self, pool: &PoolListed, state: &str) -> String {
        format!("/tasks{}", links::query(&[("state", state), ("pool", &pool.name)]))
    }

    fn may_go(&self, pool: &PoolListed) -> bool {
        pool.name != DEFAULT_POOL
    }
}

pub(crate) async fn show(State(app): State<App>) -> PageResult<PoolsPage> {
    Ok(Page(PoolsPage { pools: pools::list(&mut *app.pool.acquire().await?, None).await? }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    name: String,
    slots: i32,
    #[serde(default)]
    description: String,
    #[serde(default)]
    include_deferred: bool,
}

impl Wanted {
    fn pool<'w>(&'w self, name: &'w str) -> NewPool<'w> {
        let description = filled(&self.description);
        NewPool { name, slots: self.slots, description, include_deferred: self.include_deferred }
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Form(wanted): Form<Wanted>,
) -> Result<Redirect, PageError> {
    commands::create_pool(&mut *app.pool.acquire().await?, &wanted.pool(&wanted.name), &by).await?;
    app.wake.everybody();
    Ok(told::after("/pools", Deed::Made, &wanted.name))
}

pub(crate) async fn change(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
    Form(wanted): Form<Wanted>,
) -> Result<Redirect, PageError> {
    commands::update_pool(&mut *app.pool.acquire().await?, &wanted.pool(&name), &by).await?;
    app.wake.everybody();
    Ok(told::after("/pools", Deed::Saved, &name))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(name): Path<String>,
) -> Result<Redirect, PageError> {
    commands::delete_pool(&mut *app.pool.acquire().await?, &name, &by).await?;
    Ok(told::after("/pools", Deed::Deleted, &name))
}
