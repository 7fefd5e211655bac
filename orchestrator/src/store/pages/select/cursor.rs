//! Lists that go on where a page ended: the thousandth page costs what the first one does, and what is new meanwhile
//! moves no row from one page to another (Airflow's cursor pagination).

use sqlx::{FromRow, PgConnection, QueryBuilder, Row, postgres::PgRow};

use super::{Column, Cut, End, Order, Selection, Source, choose, read};
use crate::store::pages::Page;

/// How far rows are counted if nothing else is said (Airflow's `EXACT_COUNT_LIMIT`): to count them all would cost what the
/// cursor saves.
pub const COUNTED: i64 = 50_000;

/// The place of a row in an order: the text of each of its terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place(pub Vec<Option<String>>);

/// Which page.
#[derive(Clone, Debug)]
pub enum Turn {
    /// The first one.
    First,
    /// The one after this place.
    After(Place),
    /// The one before this place.
    Before(Place),
}

/// A page, and the ways on from it.
#[derive(Clone, Debug)]
pub struct Turned<R> {
    /// Its rows.
    pub rows: Vec<R>,
    /// Before which place the page before it is.
    pub previous: Option<Place>,
    /// After which place the page after it is.
    pub next: Option<Place>,
    /// How many rows there are in all; as many as are counted: so many, or more.
    pub total: i64,
}

/// Why a page was not turned to.
#[derive(Debug, thiserror::Error)]
pub enum NotTurned {
    /// A place in another order.
    #[error("the place is of a list in another order: ask for the first page")]
    Foreign,
    /// A place that no row can have.
    #[error("the place is of no list: ask for the first page")]
    Nowhere(#[source] sqlx::Error),
    /// The database is down.
    #[error(transparent)]
    Database(sqlx::Error),
}

/// A row, and where it is.
struct Placed<R> {
    row: R,
    place: Place,
}

impl<'r, R: FromRow<'r, PgRow>> FromRow<'r, PgRow> for Placed<R> {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        Ok(Self { row: R::from_row(row)?, place: Place(row.try_get("place")?) })
    }
}

/// At most `limit` rows of a page.
pub(in crate::store::pages) async fn turn<C, R>(
    conn: &mut PgConnection,
    source: Source,
    selection: &Selection<C>,
    turn: Turn,
    limit: i64,
) -> Result<Turned<R>, NotTurned>
where
    C: Column,
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let order = Order::of(source, selection);
    if let Turn::After(place) | Turn::Before(place) = &turn
        && place.0.len() != order.len()
    {
        return Err(NotTurned::Foreign);
    }
    let total = count(conn, source, selection).await.map_err(NotTurned::Database)?;
    // One more row than is asked for tells whether the list goes on.
    let page = Page { limit: limit.saturating_add(1), offset: 0 };
    let columns = format!("{}, {}", source.columns, order.place());
    let (order, after) = match &turn {
        Turn::First => (order, None),
        Turn::After(place) => (order, Some(place.clone())),
        Turn::Before(place) => (order.reversed(), Some(place.clone())),
    };
    let cut = Cut { order, after, page, from: End::Beginning };
    let mut query = QueryBuilder::new("");
    read(&mut query, source, &columns, selection, &cut);
    let rows = query.build_query_as().fetch_all(conn).await;
    let mut rows: Vec<Placed<R>> = rows.map_err(|error| told(error, &cut))?;
    let goes_on = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let (before, behind) = match turn {
        Turn::First => (false, goes_on),
        Turn::After(_) => (true, goes_on),
        Turn::Before(_) => {
            rows.reverse();
            (goes_on, true)
        }
    };
    let previous = rows.first().filter(|_| before).map(|row| row.place.clone());
    let next = rows.last().filter(|_| behind).map(|row| row.place.clone());
    Ok(Turned { rows: rows.into_iter().map(|placed| placed.row).collect(), previous, next, total })
}

async fn count<C: Column>(conn: &mut PgConnection, source: Source, selection: &Selection<C>) -> sqlx::Result<i64> {
    let mut count = QueryBuilder::new("select count(*) from (select 1 from ");
    count.push(source.chosen_from(selection));
    choose(&mut count, selection);
    count.push(format!(" limit {}) counted", selection.counted));
    count.build_query_scalar().fetch_one(conn).await
}

/// Postgres refuses (class 22, data exception) what is not the text of such a value; only a place says such things.
fn told(error: sqlx::Error, cut: &Cut) -> NotTurned {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.is_some_and(|code| code.starts_with("22")) && cut.after.is_some() {
        true => NotTurned::Nowhere(error),
        false => NotTurned::Database(error),
    }
}
