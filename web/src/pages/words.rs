//! How instants, durations and states are written on a page.

use std::fmt::{self, Display, Formatter};

use askama::{FastWritable, filters::HtmlSafe};
use chrono::{DateTime, SecondsFormat, Utc};
use orchestrator::state::TaskState;

/// An instant. The page shows it in UTC, or in the zone that the viewer has chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) Option<DateTime<Utc>>);

impl From<DateTime<Utc>> for Moment {
    fn from(at: DateTime<Utc>) -> Self {
        Self(Some(at))
    }
}

impl Display for Moment {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let Some(at) = self.0 else { return to.write_str("<span class=\"quiet\">–</span>") };
        let iso = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        write!(to, "<time datetime=\"{iso}\">{}</time>", at.format("%Y-%m-%d %H:%M:%S"))
    }
}

impl HtmlSafe for Moment {}
impl FastWritable for Moment {
    fn write_into(&self, to: &mut dyn fmt::Write, _: &dyn askama::Values) -> askama::Result<()> {
        Ok(write!(to, "{self}")?)
    }
}

/// An instant before a line of a log, to the millisecond; `page.js` shows it in the same parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineMoment(pub(crate) DateTime<Utc>);

impl Display for LineMoment {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let iso = self.0.to_rfc3339_opts(SecondsFormat::Millis, true);
        let (day, clock) = (self.0.format("%Y-%m-%d"), self.0.format("%H:%M:%S%.3f"));
        write!(to, "<time datetime=\"{iso}\" data-form=\"line\"><span>{day}</span> {clock}</time>")
    }
}

impl HtmlSafe for LineMoment {}
impl FastWritable for LineMoment {
    fn write_into(&self, to: &mut dyn fmt::Write, _: &dyn askama::Values) -> askama::Result<()> {
        Ok(write!(to, "{self}")?)
    }
}

/// An instant where only text can be.
pub(crate) fn plain(Moment(at): Moment) -> String {
    at.map_or_else(|| "–".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// How long something took, in milliseconds.
pub(crate) fn millis(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<i64> {
    from.map(|from| (to.unwrap_or(now) - from).num_milliseconds().max(0))
}

/// How long it took, or takes already.
pub(crate) fn took(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    millis(from, to, now).map_or_else(|| "–".to_owned(), duration)
}

/// A duration in its two greatest units.
pub(crate) fn duration(millis: i64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{:.1} s", millis as f64 / 1_000.0),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis / 1_000 % 60),
        3_600_000..86_400_000 => format!("{} h {} min", millis / 3_600_000, millis / 60_000 % 60),
        _ => format!("{} d {} h", millis / 86_400_000, millis / 3_600_000 % 24),
    }
}

/// How far away an instant is: `in 5 min 2 s`, `3 h 1 min ago`.
pub(crate) fn away(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let millis = (at - now).num_milliseconds();
    let text = seconds(millis.abs());
    if millis >= 0 { format!("in {text}") } else { format!("{text} ago") }
}

/// A duration to the second.
pub(crate) fn seconds(millis: i64) -> String {
    match millis {
        0..60_000 => format!("{} s", millis / 1_000),
        _ => duration(millis),
    }
}

/// So many of them.
pub(crate) fn number(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: impl Display) -> String {
    let text = number.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let apart = |(at, digit): (usize, char)| {
        let comma = at > 0 && (digits.len() - at).is_multiple_of(3);
        comma.then_some(',').into_iter().chain([digit])
    };
    sign.chars().chain(digits.chars().enumerate().flat_map(apart)).collect()
}

/// How many bytes.
pub(crate) fn size(bytes: impl TryInto<u64>) -> String {
    let bytes = bytes.try_into().unwrap_or(0);
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A state as people say it: `up for retry`.
pub(crate) fn spoken(state: impl Display) -> String {
    state.to_string().replace('_', " ")
}

/// The sign of a state, where a style sheet cannot write it: those of `style.css`.
pub(crate) fn sign(state: &Option<TaskState>) -> &'static str {
    match state {
        None => "",
        Some(TaskState::Success) => "✓",
        Some(TaskState::Failed) => "✕",
        Some(TaskState::Running) => "▶",
        Some(TaskState::Restarting) => "↺",
        Some(TaskState::Queued) => "◔",
        Some(TaskState::Scheduled) => "⋯",
        Some(TaskState::UpForRetry) => "↻",
        Some(TaskState::UpForReschedule | TaskState::Deferred) => "◷",
        Some(TaskState::UpstreamFailed) => "⊘",
        Some(TaskState::Skipped) => "»",
        Some(TaskState::None | TaskState::Removed) => "–",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_two_greatest_units() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_500, "1.5 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(millis), text);
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        let grouped: Vec<_> = [0, 999, 1_000, 1_234_567, -1_000].into_iter().map(grouped).collect();
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567", "-1,000"]);
        let sizes: Vec<_> = [-1, 999, 1_500, 2_500_000, 3_000_000_000_i64].into_iter().map(size).collect();
        assert_eq!(sizes, ["0 B", "999 B", "1.5 kB", "2.5 MB", "3.0 GB"]);
    }

    #[test]
    fn what_is_to_come_and_what_is_past() {
        let now = DateTime::UNIX_EPOCH;
        let at = |seconds| now + chrono::TimeDelta::seconds(seconds);
        assert_eq!(away(at(5), now), "in 5 s");
        assert_eq!(away(at(-62), now), "1 min 2 s ago");
    }

    #[test]
    fn an_instant_says_its_zone_to_programs() {
        let at = DateTime::UNIX_EPOCH;
        let text = Moment::from(at).to_string();
        assert_eq!(text, "<time datetime=\"1970-01-01T00:00:00.000Z\">1970-01-01 00:00:00</time>");
    }
}
