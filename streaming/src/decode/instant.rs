//! Instants in text.

use chrono::{DateTime, NaiveDateTime};

/// Reads ISO 8601; without a zone it is UTC, as the shop writes it. What is finer than a microsecond is cut off.
#[must_use]
pub fn timestamp_micros(text: &str) -> Option<i64> {
    usual(text.as_bytes()).or_else(|| any_form(text))
}

/// Every form that is taken.
fn any_form(text: &str) -> Option<i64> {
    let with_zone = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_micros());
    let naive = |format| {
        NaiveDateTime::parse_from_str(text, format).ok().map(|at: NaiveDateTime| at.and_utc().timestamp_micros())
    };
    naive("%Y-%m-%dT%H:%M:%S%.f").or_else(with_zone).or_else(|| naive("%Y-%m-%d %H:%M:%S%.f"))
}

/// `2026-11-22T13:00:00`, with up to six decimals and at most a `Z`; a third of the time of a record would go into the
/// general form. None if it is another form, or no instant.
fn usual(text: &[u8]) -> Option<i64> {
    let (whole, rest) = text.split_at_checked(19)?;
    let &[_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _] = whole else { return None };
    let year = number(&whole[0..4])?;
    let (month, day) = (number(&whole[5..7])?, number(&whole[8..10])?);
    let (hour, minute, second) = (number(&whole[11..13])?, number(&whole[14..16])?, number(&whole[17..19])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_of(month, year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let rest = rest.strip_suffix(b"Z").unwrap_or(rest);
    let micros = match rest.split_first() {
        None => 0,
        Some((b'.', decimals)) if (1..=6).contains(&decimals.len()) => {
            number(decimals)? * 10_i64.pow(6 - decimals.len() as u32)
        }
        Some(_) => return None,
    };
    let seconds = (days_since_1970(year, month, day) * 24 + hour) * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

fn days_of(month: i64, year: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`: years begin in March, so that the
/// leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_way_says_what_the_long_one_says(
            micros in -62_000_000_000_000_000_i64..250_000_000_000_000_000,
            decimals in 0_usize..=6,
            zone in prop::sample::select(vec!["", "Z", "+00:00"]),
        ) {
            let instant = DateTime::from_timestamp_micros(micros).unwrap();
            let mut text = instant.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
            text.truncate(if decimals == 0 { 19 } else { 20 + decimals });
            text.push_str(zone);
            prop_assert_eq!(timestamp_micros(&text), any_form(&text));
            prop_assert!(zone.len() > 1 || usual(text.as_bytes()).is_some(), "{}", text);
        }

        #[test]
        fn nor_does_it_take_what_the_long_one_does_not(
            text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,7})?[Z ]?",
        ) {
            prop_assert!(usual(text.as_bytes()).is_none_or(|micros| any_form(&text) == Some(micros)), "{}", text);
        }
    }
}
