//! Lists whose conditions and order are chosen while the program runs. The SQL is ours, word for word; what comes from
//! outside is bound.

pub mod cursor;
mod order;

use std::fmt::Display;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, Row, postgres::PgRow};

pub use self::order::Direction;
use self::{cursor::Place, order::Order};
use super::{Listed, Page};
use crate::accounts::Sight;

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
    /// Whether it is there only together with what is joined.
    pub joined: bool,
}

impl Sql {
    /// A column that always has a value.
    #[must_use]
    pub const fn of(expression: &'static str, kind: &'static str) -> Self {
        Self { expression, kind, nullable: false, joined: false }
    }

    /// A column that may have no value.
    #[must_use]
    pub const fn maybe(expression: &'static str, kind: &'static str) -> Self {
        Self { expression, kind, nullable: true, joined: false }
    }

    /// A column of what is joined.
    #[must_use]
    pub const fn joined(self) -> Self {
        Self { joined: true, ..self }
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
    /// Has exactly this in it, whatever the case.
    HasText(String),
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

/// Which rows, in which order.
#[derive(Clone, Debug)]
pub struct Selection<C> {
    tests: Vec<(C, Test)>,
    order: Vec<(C, Direction)>,
    /// How far its rows are counted where it is read from page to page.
    counted: i64,
}

impl<C> Default for Selection<C> {
    fn default() -> Self {
        Self { tests: Vec::new(), order: Vec::new(), counted: cursor::COUNTED }
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

    /// Only rows of DAGs that somebody sees.
    #[must_use]
    pub fn seen_by(self, sight: &Sight, dag: C) -> Self {
        match sight {
            Sight::Everything => self,
            Sight::Only(seen) => self.with(dag, Test::OneOf(seen.iter().map(ToString::to_string).collect())),
        }
    }

    /// Its rows are counted so far, where it is read from page to page.
    #[must_use]
    pub fn counted_to(self, counted: i64) -> Self {
        Self { counted, ..self }
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
    /// From what: a table.
    pub(super) from: &'static str,
    /// What belongs to each of its rows, once.
    pub(super) joins: &'static str,
    /// What tells two rows apart, and orders them when nothing else does.
    pub(super) key: &'static [Sql],
}

impl Source {
    /// What rows can be chosen and ordered from.
    fn chosen_from<C: Column>(self, selection: &Selection<C>) -> String {
        let columns = selection.tests.iter().map(|(column, _)| *column);
        let mut columns = columns.chain(selection.order.iter().map(|(column, _)| *column));
        let joins = if columns.any(|column| column.sql().joined) { self.joins } else { "" };
        format!("{} {joins}", self.from)
    }
}

/// Which of the chosen rows, and in which order.
struct Cut {
    order: Order,
    /// Only those that come after this place.
    after: Option<Place>,
    page: Page,
    from: End,
}

/// From which end of a list a page is found.
enum End {
    Beginning,
    /// As `counted` says: what lies before a page is read to be left out.
    Nearer,
}

/// Pages that begin later than this are read from whichever end of the list is nearer.
const DEEP: i64 = 1_000;

/// A row, and how many there are in all.
struct Counted<R> {
    row: R,
    total: i64,
}

impl<'r, R: FromRow<'r, PgRow>> FromRow<'r, PgRow> for Counted<R> {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        Ok(Self { row: R::from_row(row)?, total: row.try_get("total")? })
    }
}

/// The rows of a page, and how many there are in all: of one instant, in one statement.
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
    let mut query = QueryBuilder::new("with counted as materialized (");
    count(&mut query, source, selection);
    query.push(") ");
    let columns = format!("{}, (select total from counted) as total", source.columns);
    let from = if page.offset > DEEP { End::Nearer } else { End::Beginning };
    let cut = Cut { order: Order::of(source, selection), after: None, page, from };
    read(&mut query, source, &columns, selection, &cut);
    let rows: Vec<Counted<R>> = query.build_query_as().fetch_all(&mut *conn).await?;
    let total = match rows.first() {
        Some(first) => first.total,
        None => {
            let mut query = QueryBuilder::new("");
            count(&mut query, source, selection);
            query.build_query_scalar().fetch_one(conn).await?
        }
    };
    Ok(Listed { rows: rows.into_iter().map(|counted| counted.row).collect(), total })
}

fn count<C: Column>(query: &mut QueryBuilder<Postgres>, source: Source, selection: &Selection<C>) {
    query.push("select count(*) as total from ").push(source.chosen_from(selection));
    choose(query, selection);
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
    of_cut(conn, source, selection, None, page).await
}

/// The rows of a page that begins after a place.
pub(super) async fn rows_after<C, R>(
    conn: &mut PgConnection,
    source: Source,
    selection: &Selection<C>,
    place: Place,
    page: Page,
) -> sqlx::Result<Vec<R>>
where
    C: Column,
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    of_cut(conn, source, selection, Some(place), page).await
}

async fn of_cut<C, R>(
    conn: &mut PgConnection,
    source: Source,
    selection: &Selection<C>,
    after: Option<Place>,
    page: Page,
) -> sqlx::Result<Vec<R>>
where
    C: Column,
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let cut = Cut { order: Order::of(source, selection), after, page, from: End::Beginning };
    let mut query = QueryBuilder::new("");
    read(&mut query, source, source.columns, selection, &cut);
    query.build_query_as().fetch_all(conn).await
}

fn read<C: Column>(
    query: &mut QueryBuilder<Postgres>,
    source: Source,
    columns: &str,
    selection: &Selection<C>,
    cut: &Cut,
) {
    query.push("select ").push(columns).push(" from ");
    if source.joins.is_empty() {
        query.push(source.from);
        choose_page(query, selection, cut);
    } else {
        joined(query, source, selection, cut);
    }
}

/// First which rows, from as little as may be, an index if one has it all; then, row by row, what belongs to them.
fn joined<C: Column>(query: &mut QueryBuilder<Postgres>, source: Source, selection: &Selection<C>, cut: &Cut) {
    let keys = source.key.iter().map(|key| key.expression).enumerate();
    let (named, equal): (Vec<_>, Vec<_>) =
        keys.map(|(at, key)| (format!("{key} as k{at}"), format!("{key} = page.k{at}"))).unzip();
    let keys = format!("select {} from {}", named.join(", "), source.chosen_from(selection));
    query.push("(");
    match cut.from {
        End::Beginning => choose_page(query.push(keys), selection, cut),
        End::Nearer => choose_page_from_nearer_end(query, &keys, selection, cut),
    }
    let alias = source.from.rsplit(' ').next().unwrap_or_default();
    // Lateral and limited: an index is asked for each row, whatever whoever plans thinks of their number.
    query.push(") page cross join lateral (select * from ").push(source.from).push(" where ");
    query.push(equal.join(" and ")).push(format!(" limit 1) {alias} ")).push(source.joins);
    cut.order.write(query);
}

fn choose_page<C: Column>(query: &mut QueryBuilder<Postgres>, selection: &Selection<C>, cut: &Cut) {
    choose(query, selection);
    if let Some(place) = &cut.after {
        cut.order.choose_after(query, place);
    }
    cut.order.write(query);
    // Not bound: whoever plans must know that it is a page.
    query.push(format!(" limit {}", cut.page.limit)).push(" offset ").push_bind(cut.page.offset);
}

/// One of two selects, the other of which reads nothing.
fn choose_page_from_nearer_end<C: Column>(
    query: &mut QueryBuilder<Postgres>,
    keys: &str,
    selection: &Selection<C>,
    Cut { order, page: Page { limit, offset }, .. }: &Cut,
) {
    choose(query.push("(").push(keys), selection);
    query.push(" and (select total from counted) - ").push_bind(*offset).push(" >= ").push_bind(*offset);
    order.write(query);
    query.push(format!(" limit {limit}")).push(" offset ").push_bind(*offset);
    choose(query.push(") union all (").push(keys), selection);
    query.push(" and (select total from counted) - ").push_bind(*offset).push(" < ").push_bind(*offset);
    order.reversed().write(query);
    query.push(" limit (select greatest(least(total - ").push_bind(*offset);
    query.push(format!(", {limit}), 0) from counted) offset (select greatest(total - ")).push_bind(*offset);
    query.push(format!(", {limit}) - {limit} from counted))"));
}

fn choose<C: Column>(query: &mut QueryBuilder<Postgres>, selection: &Selection<C>) {
    query.push(" where true");
    for (column, test) in &selection.tests {
        let Sql { expression, kind, .. } = column.sql();
        query.push(" and ");
        match test {
            // The order of an index outlives an equation, and no list.
            Test::OneOf(values) if let [value] = values.as_slice() => {
                query.push(expression).push(" = ").push_bind(value.clone()).push(format!("::text::{kind}"));
            }
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
            Test::HasText(text) => {
                query.push(expression).push("::text ilike ").push_bind(format!("%{}%", literal(text)));
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
