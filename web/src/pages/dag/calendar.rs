//! A year of a DAG, day by day.

use askama::Template;
use axum::extract::{Path, Query, State};
use chrono::{Datelike, Months, NaiveDate, Weekday};
use orchestrator::{
    ids::DagId,
    state::RunState,
    store::{
        self,
        pages::calendar::{self, OfDay},
    },
};
use serde::Deserialize;

use super::Head;
use crate::{
    App,
    pages::{Frame, Page, PageResult, links},
};

/// The years that can be asked for: those whose days every instant of ours can be compared with.
const YEARS: (i32, i32) = (1970, 2999);

/// How a week is headed.
const WEEK: [&str; 7] = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];

/// The state that a day is shown in: the one that wants attention most.
const MOST_TELLING: [RunState; 4] = [RunState::Failed, RunState::Running, RunState::Queued, RunState::Success];

#[derive(Template)]
#[template(path = "dag/calendar.html")]
pub(crate) struct CalendarPage {
    head: Head,
    year: i32,
    runs: i64,
    months: Vec<Month>,
}

struct Month {
    name: String,
    /// From Monday to Sunday; days of other months are not there.
    weeks: Vec<[Option<Day>; 7]>,
}

struct Day {
    number: u32,
    /// Its runs, if it has any.
    ran: Option<Ran>,
}

struct Ran {
    state: RunState,
    link: String,
    /// How many there are of each state.
    title: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    year: Option<i32>,
}

impl Frame for CalendarPage {
    const SECTION: &'static str = "dags";

    fn is_live(&self) -> bool {
        !self.head.is_paused
    }
}

pub(crate) async fn show(
    State(app): State<App>,
    Path(dag_id): Path<DagId>,
    Query(wanted): Query<Wanted>,
) -> PageResult<CalendarPage> {
    let mut conn = app.pool.acquire().await?;
    let (head, _) = Head::load(&app, &mut conn, dag_id, "/calendar").await?;
    let year = match wanted.year {
        Some(year) => year.clamp(YEARS.0, YEARS.1),
        None => store::now(&mut conn).await?.year(),
    };
    let (from, to) = (first_of(year), first_of(year + 1));
    let days = calendar::days(&mut conn, &head.dag_id, from, to).await?;
    let months = (0..12).map(|month| month_of(from + Months::new(month), &days, &head.link)).collect();
    Ok(Page(CalendarPage { year, runs: days.iter().map(|day| day.runs).sum(), months, head }))
}

fn first_of(year: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default()
}

/// The month that begins on `first`; `days` are in order.
fn month_of(first: NaiveDate, days: &[OfDay], dag_link: &str) -> Month {
    let mut weeks: Vec<[Option<Day>; 7]> = Vec::new();
    for date in first.iter_days().take_while(|date| date.month() == first.month()) {
        if weeks.is_empty() || date.weekday() == Weekday::Mon {
            weeks.push([const { None }; 7]);
        }
        let of_day = days.iter().filter(|of| of.day == date);
        let day = Day { number: date.day(), ran: ran(date, &of_day.copied().collect::<Vec<_>>(), dag_link) };
        let place = weeks.last_mut().and_then(|week| week.get_mut(date.weekday().num_days_from_monday() as usize));
        if let Some(place) = place {
            *place = Some(day);
        }
    }
    Month { name: first.format("%B").to_string(), weeks }
}

fn ran(date: NaiveDate, of: &[OfDay], dag_link: &str) -> Option<Ran> {
    let state = MOST_TELLING.into_iter().find(|state| of.iter().any(|of| of.state == *state))?;
    let day = date.to_string();
    let each: Vec<_> = of.iter().map(|of| format!("{} {}", of.runs, of.state)).collect();
    let link = format!("{dag_link}/runs{}", links::query(&[("day", &day)]));
    Some(Ran { state, link, title: format!("{day}: {}", each.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(day: &str, state: RunState, runs: i64) -> OfDay {
        OfDay { day: day.parse().unwrap(), state, runs }
    }

    #[test]
    fn a_month_has_its_days_where_they_belong() {
        for (first, weeks, first_at, last) in
            [("2026-02-01", 5, 6, 28), ("2027-02-01", 4, 0, 28), ("2028-02-01", 5, 1, 29), ("2026-08-01", 6, 5, 31)]
        {
            let month = month_of(first.parse().unwrap(), &[], "");
            let numbers: Vec<_> = month.weeks.iter().flatten().flatten().map(|day| day.number).collect();
            assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "{first}");
            let at = month.weeks[0].iter().position(Option::is_some);
            assert_eq!((month.weeks.len(), at), (weeks, Some(first_at)), "{first}");
        }
        assert_eq!(month_of("2026-03-01".parse().unwrap(), &[], "").name, "March");
    }

    #[test]
    fn a_day_is_as_its_worst_run() {
        let days = [
            of("2026-02-01", RunState::Success, 9),
            of("2026-02-02", RunState::Failed, 1),
            of("2026-02-02", RunState::Success, 143),
        ];
        let month = month_of("2026-02-01".parse().unwrap(), &days, "/dags/d");
        let ran: Vec<_> = month.weeks.iter().flatten().flatten().filter_map(|day| day.ran.as_ref()).collect();
        let told: Vec<_> = ran.iter().map(|ran| (ran.state, ran.title.as_str())).collect();
        let second = (RunState::Failed, "2026-02-02: 1 failed, 143 success");
        assert_eq!(told, [(RunState::Success, "2026-02-01: 9 success"), second]);
        assert_eq!(ran[1].link, "/dags/d/runs?day=2026-02-02");
    }
}
