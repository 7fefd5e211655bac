//! The variables. What sounds secret is never shown, and stays as it is if nobody types another value.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    http::StatusCode,
    response::Redirect,
};
use orchestrator::{
    commands::{self, By, NewVariable, Refused},
    redact::{redacted_text, restored_text},
    secrets::{MASK, Sealed, is_sensitive},
    store::{
        pages::{
            Page as Part,
            select::{Selection, Test},
            settings::{self, VariableColumn},
        },
        variables::{self, VariableRow},
    },
};
use serde::Deserialize;

use super::{
    links,
    page::{Frame, Page, PageError, PageResult, filled},
    pager::Pager,
    told::{self, Deed},
};
use crate::App;

/// Variables on a page.
const ROWS: i64 = 100;

#[derive(Template)]
#[template(path = "variables.html")]
pub(crate) struct VariablesPage {
    rows: Vec<Row>,
    wanted: Wanted,
    pager: Pager,
}

impl Frame for VariablesPage {
    const SECTION: &'static str = "variables";
}

struct Row {
    key: String,
    link: String,
    /// None if nobody may see it.
    value: Option<String>,
    /// Why it cannot be opened.
    lost: Option<String>,
    description: Option<String>,
}

/// What the list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    q: String,
    offset: i64,
}

pub(crate) async fn show(State(app): State<App>, Query(wanted): Query<Wanted>) -> PageResult<VariablesPage> {
    let mut filter = Selection::default();
    if !wanted.q.is_empty() {
        filter = filter.with(VariableColumn::Key, Test::Contains(wanted.q.clone()));
    }
    let part = Part { limit: ROWS, offset: wanted.offset.max(0) };
    let listed = settings::variables(&mut *app.pool.acquire().await?, &filter, part).await?;
    let rows = listed.rows.into_iter().map(|row| row_of(&app, row)).collect();
    let pager = Pager::new(part, listed.total, &[("q", &wanted.q)]);
    Ok(Page(VariablesPage { rows, wanted, pager }))
}

fn row_of(app: &App, row: VariableRow) -> Row {
    let link = format!("/variables/{}", links::part(&row.key));
    let (value, lost) = match app.keys.open(Sealed::Variable(&row.key), &row.sealed) {
        Err(error) => (None, Some(error.to_string())),
        Ok(value) => (Some(redacted_text(&row.key, value)).filter(|_| !is_sensitive(&row.key)), None),
    };
    Row { link, key: row.key, value, lost, description: row.description }
}

/// What a form says of a variable.
#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    description: String,
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Form(said): Form<Said>,
) -> Result<Redirect, PageError> {
    let new = NewVariable { key: &said.key, value: &said.value, description: filled(&said.description) };
    commands::create_variable(&mut *app.pool.acquire().await?, &app.keys, new, &by).await?;
    Ok(told::after("/variables", Deed::Made, &said.key))
}

pub(crate) async fn change(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(key): Path<String>,
    Form(said): Form<Said>,
) -> Result<Redirect, PageError> {
    let mut conn = app.pool.acquire().await?;
    let value = match said.value.is_empty() || said.value.contains(MASK) {
        false => said.value,
        true => {
            let now = variables::list(&mut conn, Some(&key)).await?.pop();
            let now = now.ok_or_else(|| Refused::NoVariable(key.clone()))?;
            let kept = app.keys.open(Sealed::Variable(&key), &now.sealed)?;
            match is_sensitive(&key) && said.value.is_empty() {
                true => kept,
                false => restored_text(&key, said.value, &kept)
                    .map_err(|lost| PageError::new(StatusCode::BAD_REQUEST, lost.to_string()))?,
            }
        }
    };
    let new = NewVariable { key: &key, value: &value, description: filled(&said.description) };
    commands::update_variable(&mut conn, &app.keys, new, &by).await?;
    Ok(told::after("/variables", Deed::Saved, &key))
}

pub(crate) async fn delete(
    State(app): State<App>,
    Extension(by): Extension<By>,
    Path(key): Path<String>,
) -> Result<Redirect, PageError> {
    commands::delete_variable(&mut *app.pool.acquire().await?, &key, &by).await?;
    Ok(told::after("/variables", Deed::Deleted, &key))
}
