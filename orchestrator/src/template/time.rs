//! Instants in templates: Airflow's filters `ds`, `ts` and their like, and what people use of Python's `datetime`.

use std::{fmt, sync::Arc};

use chrono::{
    DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Utc,
    format::{Item, StrftimeItems},
};
use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    value::{Kwargs, Object, ObjectRepr, from_args},
};

/// An instant. It renders as Python's `datetime` does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(DateTime<Utc>);

impl Time {
    pub(super) fn value(instant: DateTime<Utc>) -> Value {
        Value::from_object(Self(instant))
    }

    pub(super) fn ds(self) -> String {
        self.0.format("%Y-%m-%d").to_string()
    }

    pub(super) fn ds_nodash(self) -> String {
        self.0.format("%Y%m%d").to_string()
    }

    pub(super) fn ts(self) -> String {
        match self.0.timestamp_subsec_micros() {
            0 => self.0.format("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
            _ => self.0.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
        }
    }

    pub(super) fn ts_nodash(self) -> String {
        self.0.format("%Y%m%dT%H%M%S").to_string()
    }

    pub(super) fn ts_nodash_with_tz(self) -> String {
        self.0.format("%Y%m%dT%H%M%S+0000").to_string()
    }

    /// Of another time of day, or day.
    fn moved(self, by: &Kwargs, sign: i64) -> Result<Value, Error> {
        let of = |name: &str| by.get::<Option<i64>>(name).map(Option::unwrap_or_default);
        let seconds = [
            (of("weeks")?, 604_800),
            (of("days")?, 86_400),
            (of("hours")?, 3_600),
            (of("minutes")?, 60),
            (of("seconds")?, 1),
        ];
        by.assert_all_used()?;
        let sum = |sum: i64, (count, unit): (i64, i64)| sum.checked_add(count.checked_mul(unit)?);
        let seconds = seconds.into_iter().try_fold(0_i64, sum).and_then(|seconds| seconds.checked_mul(sign));
        let moved = seconds.and_then(TimeDelta::try_seconds).and_then(|by| self.0.checked_add_signed(by));
        moved.map(Self::value).ok_or_else(|| invalid("the date is out of range"))
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(instant: DateTime<Utc>) -> Self {
        Self(instant)
    }
}

impl Object for Time {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let part = match key.as_str()? {
            "year" => return Some(Value::from(self.0.year())),
            "month" => self.0.month(),
            "day" => self.0.day(),
            "hour" => self.0.hour(),
            "minute" => self.0.minute(),
            "second" => self.0.second(),
            _ => return None,
        };
        Some(Value::from(part))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "isoformat" => Ok(Value::from(self.ts())),
            "strftime" => {
                let (format,): (&str,) = from_args(args)?;
                let items = items(format)?;
                Ok(Value::from(self.0.format_with_items(items.iter()).to_string()))
            }
            "timestamp" => Ok(Value::from(self.0.timestamp())),
            "add" => self.moved(&from_args::<(Kwargs,)>(args)?.0, 1),
            "subtract" => self.moved(&from_args::<(Kwargs,)>(args)?.0, -1),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.ts().replacen('T', " ", 1))
    }
}

/// Adds `{{ logical_date | ds }}` and its like.
pub(super) fn add_filters(environment: &mut Environment<'_>) {
    let mut add = |name: &'static str, filter: fn(Time) -> String| {
        environment.add_filter(name, move |value: Value| {
            let time = value.downcast_object_ref::<Time>().ok_or_else(|| invalid("it is not a date"))?;
            Ok::<_, Error>(filter(*time))
        });
    };
    add("ds", Time::ds);
    add("ds_nodash", Time::ds_nodash);
    add("ts", Time::ts);
    add("ts_nodash", Time::ts_nodash);
    add("ts_nodash_with_tz", Time::ts_nodash_with_tz);
}

/// Airflow's `macros`.
#[derive(Debug)]
pub(super) struct Macros;

impl Object for Macros {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "ds_add" => {
                let (ds, days): (&str, i64) = from_args(args)?;
                let day = parse(ds, "%Y-%m-%d")?;
                let moved = TimeDelta::try_days(days).and_then(|days| day.checked_add_signed(days));
                let moved = moved.ok_or_else(|| invalid("the date is out of range"))?;
                Ok(Value::from(moved.format("%Y-%m-%d").to_string()))
            }
            "ds_format" => {
                let (ds, from, to): (&str, &str, &str) = from_args(args)?;
                let midnight = parse(ds, from)?.and_time(chrono::NaiveTime::MIN).and_utc();
                Ok(Value::from(midnight.format_with_items(items(to)?.iter()).to_string()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

fn parse(day: &str, format: &str) -> Result<NaiveDate, Error> {
    NaiveDate::parse_from_str(day, format).map_err(|error| invalid(&format!("{day:?} is not a {format}: {error}")))
}

/// Python's directives; of those that people use only `%f` means another thing here.
fn items(format: &str) -> Result<Vec<Item<'static>>, Error> {
    let format = format.replace("%f", "%6f");
    StrftimeItems::new(&format).parse_to_owned().map_err(|_| invalid(&format!("{format:?} is not a format of dates")))
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.to_owned())
}
