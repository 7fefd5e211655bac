//! Lists whose conditions and order are chosen while the program runs. The SQL is ours, word for word; what comes from
//! outside is bound.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, postgres::PgRow};

use super::{Listed, Page};

/// Something that the rows of a list are chosen and ordered by.
pub trait Column: Copy + Send + Sync {
    /// How it is written.
    fn sql(self) -> Sql;
}

/// A column in SQL.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    /// Its expression.
    pub expression: &'static str,
    /// Its type in Postgres.
    pub kind: &'static str,
    /// Whether it may have no value; such rows come last, in either direction, as in Airflow.
    pub nullable: bool,
}

impl Sql {
    /// A column that always has a value.
    #[must_use]
    pub const fn of(expression: &'static str, kind: &'static str) -> Self {
        Self { expression, kind, nullable: false }
    }

    /// A column that may have no value.
    #[must_use]
    pub const fn maybe(expression: &'static str, kind: &'static str) -> Self {
        Self { expression, kind, nullable: true }
    }
}

/// What a column must be.
#[derive(Clone, Debug)]
pub enum Test {
    /// One of these, as text.
    OneOf(Vec<String>),
    /// None of these, as text.
    NoneOf(Vec<String>),
    /// Has this in it, whatever the case; alternatives are parted by `|`, `%` and `_` stand for any text and any
    /// character (Airflow's `*_pattern`).
    Contains(String),
    /// Begins with this, or with one of the alternatives parted by `|` (Airflow's `*_prefix_pattern`).
    StartsWith(String),
    /// Before or after this instant.
    Instant(Comparison, DateTime<Utc>),
    /// Below or above this number.
    Number(Comparison, f64),
    /// A list that has one of these.
    HasAny(Vec<String>),
    /// A list that has all of these.
    HasAll(Vec<String>),
}

/// How a value is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// Not less.
    AtLeast,
    /// More.
    Above,
    /// Not more.
    AtMost,
    /// Less.
    Below,
}

impl Comparison {
    fn sql(self) -> &'static str {
        match self {
            Self::AtLeast => " >= ",
            Self::Above => " > ",
            Self::AtMost => " <= ",
            Self::Below => " < ",
        }
    }
}

/// From which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// Which rows, in which order.
#[derive(Clone, Debug)]
pub struct Selection<C> {
    tests: Vec<(C, Test)>,
    order: Vec<(C, Direction)>,
}

impl<C> Default for Selection<C> {
    fn default() -> Self {
        Self { tests: Vec::new(), order: Vec::new() }
    }
}

impl<C> Selection<C> {
    /// Only rows in which the column is this.
    #[must_use]
    pub fn only(self, column: C, value: impl Display) -> Self {
        self.with(column, Test::OneOf(vec![value.to_string()]))
    }

    /// Only rows in which the column is one of these; all if there are none.
    #[must_use]
    pub fn one_of<V: Display>(self, column: C, values: impl IntoIterator<Item = V>) -> Self {
        let values: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
        if values.is_empty() { self } else { self.with(column, Test::OneOf(values)) }
    }

    /// Only rows in which the column passes the test.
    #[must_use]
    pub fn with(mut self, column: C, test: Test) -> Self {
        self.tests.push((column, test));
        self
    }

    /// By this column; where it is equal, by those that are named later.
    #[must_use]
    pub fn order_by(mut self, column: C, direction: Direction) -> Self {
        self.order.push((column, direction));
        self
    }
}

/// What a list is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// What is selected.
    pub(super) columns: &'static str,
    /// From what.
    pub(super) from: &'static str,
    /// What tells two rows apart when nothing else does.
    pub(super) key: &'static str,
}

/// The rows of a page, and how many there are in all.
pub(super) async fn list<C, R>(
    conn: &mut PgConnection,
    source: Source,
    selection: &Selection<C>,
    page: Page,
) -> sqlx::Result<Listed<R>>
where
    C: Column,
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut count = QueryBuilder::new("select count(*) from ");
    count.push(source.from);
    choose(&mut count, selection);
    let total = count.build_query_scalar().fetch_one(&mut *conn).await?;
    let rows = rows(conn, source, selection, page).await?;
    Ok(Listed { rows, total })
}

/// The rows of a page.
pub(super) async fn rows<C, R>(
    conn: &mut PgConnection,
    source: Source,
    selection: &Selection<C>,
    page: Page,
) -> sqlx::Result<Vec<R>>
where
    C: Column,
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut query = QueryBuilder::new("select ");
    query.push(source.columns).push(" from ").push(source.from);
    choose(&mut query, selection);
    order(&mut query, source.key, selection);
    query.push(" limit ").push_bind(page.limit).push(" offset ").push_bind(page.offset);
    query.build_query_as().fetch_all(conn).await
}

fn choose<C: Column>(query: &mut QueryBuilder<Postgres>, selection: &Selection<C>) {
    query.push(" where true");
    for (column, test) in &selection.tests {
        let Sql { expression, kind, .. } = column.sql();
        query.push(" and ");
        match test {
            Test::OneOf(values) => {
                query.push(expression).push(" = any(").push_bind(values.clone()).push(format!("::{kind}[])"));
            }
            Test::NoneOf(values) => {
                query.push(expression).push(" <> all(").push_bind(values.clone()).push(format!("::{kind}[])"));
            }
            Test::Contains(text) => {
                let like = text.split('|').map(|text| format!("%{}%", text.trim())).collect::<Vec<_>>();
                query.push(expression).push("::text ilike any(").push_bind(like).push(")");
            }
            Test::StartsWith(text) => {
                let like = text.split('|').map(|text| format!("{}%", literal(text.trim()))).collect::<Vec<_>>();
                query.push(expression).push("::text like any(").push_bind(like).push(")");
            }
            Test::Instant(comparison, at) => {
                query.push(expression).push(comparison.sql()).push_bind(*at);
            }
            Test::Number(comparison, number) => {
                query.push(expression).push(comparison.sql()).push_bind(*number);
            }
            Test::HasAny(values) => {
                query.push(expression).push(" ?| ").push_bind(values.clone());
            }
            Test::HasAll(values) => {
                query.push(expression).push(" ?& ").push_bind(values.clone());
            }
        }
    }
}

/// A text in which nothing stands for something else.
fn literal(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

fn order<C: Column>(query: &mut QueryBuilder<Postgres>, key: &str, selection: &Selection<C>) {
    let word = |direction| if direction == Direction::Descending { " desc" } else { "" };
    query.push(" order by ");
    for (column, direction) in &selection.order {
        let Sql { expression, nullable, .. } = column.sql();
        query.push(expression).push(word(*direction));
        query.push(if nullable { " nulls last, " } else { ", " });
    }
    let last = selection.order.first().map_or(Direction::Ascending, |(_, direction)| *direction);
    query.push(key).push(word(last));
}
