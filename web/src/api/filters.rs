//! The conditions and the order of a list, as Airflow's parameters name them: `state`, `run_id_pattern`,
//! `start_date_gte`, `order_by`.

use std::borrow::Cow;

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Datelike, Utc};
use orchestrator::store::pages::select::{Comparison, Direction, Selection, Test};
use serde_json::json;

use super::{
    body::Body,
    error::{ApiError, ApiResult},
    query::Params,
};
use crate::openapi::unserved::Unserved;

const COMPARISONS: [(&str, Comparison); 4] =
    [("gte", Comparison::AtLeast), ("gt", Comparison::Above), ("lte", Comparison::AtMost), ("lt", Comparison::Below)];

/// Reads what a request says into a selection.
pub(crate) struct Filters<'p, C> {
    params: &'p Params,
    selection: Selection<C>,
}

impl<'p, C: Copy> Filters<'p, C> {
    pub(crate) fn new(params: &'p Params) -> Self {
        Self { params, selection: Selection::default() }
    }

    /// The column is what the path says, or one of the values of a parameter.
    pub(crate) fn any(mut self, name: &str, column: C) -> Self {
        self.selection = self.selection.one_of(column, self.params.all(name));
        self
    }

    /// The column is one of the values of a parameter, which knows no others than these.
    pub(crate) fn known(
        mut self,
        name: &str,
        what: &str,
        (ours, foreign): (&[&'static str], &[&'static str]),
        column: C,
    ) -> ApiResult<Self> {
        let known = ours.iter().map(|name| (*name, Some(*name)));
        let known: Vec<_> = known.chain(foreign.iter().map(|name| (*name, None))).collect();
        let chosen = self.params.states(name, what, &known)?;
        if !chosen.is_empty() {
            let chosen = chosen.into_iter().flatten().map(str::to_owned).collect();
            self.selection = self.selection.with(column, Test::OneOf(chosen));
        }
        Ok(self)
    }

    /// The column is one of the whole numbers of a parameter.
    pub(crate) fn integers(mut self, name: &str, column: C) -> ApiResult<Self> {
        self.selection = self.selection.one_of(column, self.params.integers(name)?);
        Ok(self)
    }

    /// The column is what a flag says.
    pub(crate) fn flag(mut self, name: &str, column: C) -> ApiResult<Self> {
        self.selection = self.selection.one_of(column, self.params.flag(name)?);
        Ok(self)
    }

    /// `<name>_pattern` and `<name>_prefix_pattern`; `~` is anything.
    pub(crate) fn pattern(mut self, name: &str, column: C) -> Self {
        let of = |suffix: &str| self.params.one(&format!("{name}_{suffix}")).filter(|text| *text != "~");
        if let Some(text) = of("pattern") {
            self.selection = self.selection.with(column, Test::Contains(text.to_owned()));
        }
        if let Some(text) = of("prefix_pattern") {
            self.selection = self.selection.with(column, Test::StartsWith(text.to_owned()));
        }
        self
    }

    /// `<name>_gte`, `_gt`, `_lte`, `_lt`, each an instant.
    pub(crate) fn instants(mut self, name: &str, column: C) -> ApiResult<Self> {
        for (suffix, comparison) in COMPARISONS {
            if let Some(at) = self.params.instant(&format!("{name}_{suffix}"))? {
                self.selection = self.selection.with(column, Test::Instant(comparison, at));
            }
        }
        Ok(self)
    }

    /// Several of these.
    pub(crate) fn all_instants(self, names: &[(&str, C)]) -> ApiResult<Self> {
        names.iter().try_fold(self, |filters, (name, column)| filters.instants(name, *column))
    }

    /// `<name>_gte`, `_gt`, `_lte`, `_lt`, each a number.
    pub(crate) fn numbers(mut self, name: &str, column: C) -> ApiResult<Self> {
        for (suffix, comparison) in COMPARISONS {
            if let Some(number) = self.params.number(&format!("{name}_{suffix}"))? {
                self.selection = self.selection.with(column, Test::Number(comparison, number));
            }
        }
        Ok(self)
    }

    /// Whoever asks for one of these properties gets nothing: no row has it.
    pub(crate) fn none_has(self, names: &[&str], key: C) -> Self {
        let is_asked = names.iter().any(|name| self.params.one(name).is_some());
        self.when(key, is_asked.then(|| Test::OneOf(Vec::new())))
    }

    /// The same, of one that every row has.
    pub(crate) fn all_have(self, name: &str, value: &str, key: C) -> Self {
        let is_other = self.params.one(name).is_some_and(|asked| asked != value);
        self.when(key, is_other.then(|| Test::OneOf(Vec::new())))
    }

    /// Another condition, if there is one.
    pub(crate) fn when(mut self, column: C, test: Option<Test>) -> Self {
        if let Some(test) = test {
            self.selection = self.selection.with(column, test);
        }
        self
    }

    /// Refuses what Airflow serves and we do not: a list that is silently not filtered would be a wrong one.
    pub(crate) fn unserved(self, unserved: &Unserved) -> ApiResult<Self> {
        match unserved.names.iter().find(|name| self.params.one(name).is_some()) {
            None => Ok(self),
            Some(name) => {
                Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, format!("the parameter {name} is not served")))
            }
        }
    }

    /// `order_by`, of which there may be several, each one of these names, with `-` in front from the greatest down.
    pub(crate) fn order(mut self, known: &[(&str, C)], default: &[C]) -> ApiResult<Selection<C>> {
        let wanted = self.params.order(known)?;
        for (column, direction) in &wanted {
            self.selection = self.selection.order_by(*column, *direction);
        }
        if wanted.is_empty() {
            for column in default {
                self.selection = self.selection.order_by(*column, Direction::Ascending);
            }
        }
        Ok(self.selection)
    }
}

/// The keys of a body that asks for a list: those named, the paging, and four of each range; each with the parameter
/// that says the same.
pub(crate) fn with_ranges(
    ranges: &[&'static str],
    names: &[(&'static str, &'static str)],
) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
    let four = |name: &&'static str| {
        let name = *name;
        COMPARISONS.map(|(suffix, _)| Cow::Owned(format!("{name}_{suffix}")))
    };
    let ranges = ranges.iter().flat_map(four).map(|name: Cow<'static, str>| (name.clone(), name));
    let paging = [("page_limit", "limit"), ("page_offset", "offset")];
    let named = paging.iter().chain(names).map(|(key, name)| (Cow::Borrowed(*key), Cow::Borrowed(*name)));
    named.chain(ranges).collect()
}

/// What such a body says.
pub(crate) fn batch(
    headers: &HeaderMap,
    bytes: &Bytes,
    names: &[(Cow<'static, str>, Cow<'static, str>)],
) -> ApiResult<Params> {
    let allowed: Vec<_> = names.iter().map(|(key, _)| key.as_ref()).collect();
    Params::of_body(&Body::read(headers, bytes, &[], &allowed)?, names)
}

/// Refuses a path that names one, where only all can be asked for.
pub(crate) fn only_any(key: &str, text: &str) -> ApiError {
    ApiError::invalid("literal_error", json!(["path", key]), "Input should be '~'", text.into())
}

impl Params {
    /// `order_by`: what each one stands for.
    pub(crate) fn order<C: Copy>(&self, known: &[(&str, C)]) -> ApiResult<Vec<(C, Direction)>> {
        let read = |name: String| {
            let (attribute, direction) = match name.strip_prefix('-') {
                Some(attribute) => (attribute, Direction::Descending),
                None => (name.as_str(), Direction::Ascending),
            };
            let found = known.iter().find(|(name, _)| *name == attribute).map(|(_, column)| (*column, direction));
            found.ok_or_else(|| {
                ApiError::bad_request(format!(
                    "Ordering with '{attribute}' is disallowed or the attribute does not exist on the model"
                ))
            })
        };
        self.all("order_by").into_iter().map(read).collect()
    }

    /// An instant; one without a zone is taken as UTC, as in Airflow.
    pub(crate) fn instant(&self, key: &str) -> ApiResult<Option<DateTime<Utc>>> {
        let Some(text) = self.one(key) else { return Ok(None) };
        read_instant(text).map(Some).ok_or_else(|| {
            let message = "Input should be a valid datetime or date";
            ApiError::invalid("datetime_from_date_parsing", json!([self.place, key]), message, text.into())
        })
    }

    /// A number.
    pub(crate) fn number(&self, key: &str) -> ApiResult<Option<f64>> {
        let Some(text) = self.one(key) else { return Ok(None) };
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Some).ok_or_else(|| {
            let message = "Input should be a valid number, unable to parse string as a number";
            ApiError::invalid("float_parsing", json!([self.place, key]), message, text.into())
        })
    }
}

/// The years that Airflow's dates have; Postgres refuses others.
pub(crate) const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

fn read_instant(text: &str) -> Option<DateTime<Utc>> {
    read_any_instant(text).filter(|at| YEARS.contains(&at.year()))
}

fn read_any_instant(text: &str) -> Option<DateTime<Utc>> {
    // In a query string, a `+` that nobody escaped is a space.
    let text = text.replace(' ', "+");
    if let Ok(at) = DateTime::parse_from_rfc3339(&text) {
        return Some(at.with_timezone(&Utc));
    }
    if let Ok(at) = text.parse::<chrono::NaiveDateTime>() {
        return Some(at.and_utc());
    }
    Some(text.parse::<chrono::NaiveDate>().ok()?.and_time(chrono::NaiveTime::MIN).and_utc())
}
