//! The order of a list, and what comes after a place in it.

use sqlx::{Postgres, QueryBuilder};

use super::{Column, Selection, Source, Sql, cursor::Place};

/// From which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The greatest first.
    Descending,
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }

    /// How what comes later compares with what comes earlier.
    fn later(self) -> &'static str {
        match self {
            Self::Ascending => " > ",
            Self::Descending => " < ",
        }
    }

    fn later_or_equal(self) -> &'static str {
        match self {
            Self::Ascending => " >= ",
            Self::Descending => " <= ",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ascending => "",
            Self::Descending => " desc",
        }
    }
}

/// Where rows without a value are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    First,
    Last,
}

/// An order in which no two rows are equal: what was asked for, then the key.
pub(super) struct Order {
    terms: Vec<(Sql, Direction)>,
    nulls: Nulls,
}

impl Order {
    pub(super) fn of<C: Column>(source: Source, selection: &Selection<C>) -> Self {
        let mut terms: Vec<_> = selection.order.iter().map(|(column, way)| (column.sql(), *way)).collect();
        let way = terms.first().map_or(Direction::Ascending, |(_, way)| *way);
        for key in source.key {
            if terms.iter().all(|(term, _)| term.expression != key.expression) {
                terms.push((*key, way));
            }
        }
        Self { terms, nulls: Nulls::Last }
    }

    /// The same from its other end.
    pub(super) fn reversed(&self) -> Self {
        let terms = self.terms.iter().map(|(term, way)| (*term, way.reversed())).collect();
        let nulls = if self.nulls == Nulls::Last { Nulls::First } else { Nulls::Last };
        Self { terms, nulls }
    }

    /// How many values a place in it has.
    pub(super) fn len(&self) -> usize {
        self.terms.len()
    }

    pub(super) fn write(&self, query: &mut QueryBuilder<Postgres>) {
        let term = |(Sql { expression, nullable, .. }, way): &(Sql, Direction)| {
            let nulls = match (nullable, self.nulls) {
                (false, _) => "",
                (true, Nulls::First) => " nulls first",
                (true, Nulls::Last) => " nulls last",
            };
            format!("{expression}{}{nulls}", way.word())
        };
        query.push(" order by ").push(self.terms.iter().map(term).collect::<Vec<_>>().join(", "));
    }

    /// The place of a row, as a column.
    pub(super) fn place(&self) -> String {
        let values: Vec<_> = self.terms.iter().map(|(term, _)| format!("({})::text", term.expression)).collect();
        format!("array[{}] as place", values.join(", "))
    }

    /// Only rows that come after a place.
    pub(super) fn choose_after(&self, query: &mut QueryBuilder<Postgres>, place: &Place) {
        query.push(" and ");
        let same_way = self.terms.windows(2).all(|pair| matches!(pair, [one, other] if one.1 == other.1));
        if same_way && self.terms.iter().all(|(term, _)| !term.nullable) {
            self.choose_range(query, place);
        } else {
            self.choose_nested(query, place, 0);
        }
    }

    /// As a comparison of rows, which an index answers whole.
    fn choose_range(&self, query: &mut QueryBuilder<Postgres>, place: &Place) {
        let names: Vec<_> = self.terms.iter().map(|(term, _)| term.expression).collect();
        let way = self.terms.first().map_or(Direction::Ascending, |(_, way)| *way);
        query.push("(").push(names.join(", ")).push(")").push(way.later()).push("(");
        for (at, ((term, _), value)) in self.terms.iter().zip(&place.0).enumerate() {
            query.push(if at == 0 { "" } else { ", " });
            query.push_bind(value.clone()).push(format!("::text::{}", term.kind));
        }
        query.push(")");
    }

    /// Term by term: not before the place by this one, and after it by this one or the next ones.
    fn choose_nested(&self, query: &mut QueryBuilder<Postgres>, place: &Place, at: usize) {
        let (Some(term), Some(value)) = (self.terms.get(at), place.0.get(at)) else { return };
        if at + 1 == self.terms.len() {
            return self.choose_by(query, term, value.as_deref(), Bound::After);
        }
        query.push("(");
        self.choose_by(query, term, value.as_deref(), Bound::NotBefore);
        query.push(" and (");
        self.choose_by(query, term, value.as_deref(), Bound::After);
        query.push(" or ");
        self.choose_nested(query, place, at + 1);
        query.push("))");
    }

    fn choose_by(
        &self,
        query: &mut QueryBuilder<Postgres>,
        (Sql { expression, kind, nullable, .. }, way): &(Sql, Direction),
        value: Option<&str>,
        bound: Bound,
    ) {
        let Some(value) = value else {
            match (self.nulls, bound) {
                (Nulls::Last, Bound::NotBefore) => query.push(expression).push(" is null"),
                (Nulls::Last, Bound::After) => query.push("false"),
                (Nulls::First, Bound::NotBefore) => query.push("true"),
                (Nulls::First, Bound::After) => query.push(expression).push(" is not null"),
            };
            return;
        };
        let than = match bound {
            Bound::NotBefore => way.later_or_equal(),
            Bound::After => way.later(),
        };
        query.push("(").push(expression).push(than).push_bind(value.to_owned()).push(format!("::text::{kind}"));
        if *nullable && self.nulls == Nulls::Last {
            query.push(" or ").push(expression).push(" is null");
        }
        query.push(")");
    }
}

/// How a row lies to a place, by one term.
#[derive(Clone, Copy)]
enum Bound {
    NotBefore,
    After,
}
