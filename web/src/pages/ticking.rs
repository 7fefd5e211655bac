//! What is another text with every second: the browser counts on by itself (`page.js`), and a page is not another one for
//! it.

use std::fmt::{self, Display, Formatter};

use askama::{FastWritable, filters::HtmlSafe};
use chrono::{DateTime, SecondsFormat, Utc};

use super::words::{away, duration, seconds};

/// Marks an element whose text ticks. Before it stands what does not, the instant. No text of a page has this in it: there
/// a quotation mark is escaped.
const MARK: &str = "\" data-ticks=";
const END: &str = "</time>";

/// How far away an instant is, at the instant of the page: `in 5 min 2 s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Away {
    pub(crate) at: DateTime<Utc>,
    pub(crate) now: DateTime<Utc>,
}

/// How long something took, or takes already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
    pub(crate) now: DateTime<Utc>,
}

impl Took {
    /// Since an instant, and it goes on.
    pub(crate) fn since(from: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { from: Some(from), to: None, now }
    }
}

impl Display for Away {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let left = (self.at - self.now).num_milliseconds();
        ticks(to, self.at, "away", left, &away(self.at, self.now))
    }
}

impl Display for Took {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (None, _) => to.write_str("–"),
            (Some(from), Some(end)) => to.write_str(&duration((end - from).num_milliseconds().max(0))),
            (Some(from), None) => {
                let millis = (self.now - from).num_milliseconds().max(0);
                ticks(to, from, "since", millis, &seconds(millis))
            }
        }
    }
}

fn ticks(to: &mut Formatter<'_>, at: DateTime<Utc>, what: &str, millis: i64, text: &str) -> fmt::Result {
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    write!(to, "<time datetime=\"{at}{MARK}\"{what}\" data-ms=\"{millis}\">{text}{END}")
}

impl HtmlSafe for Away {}
impl FastWritable for Away {
    fn write_into(&self, to: &mut dyn fmt::Write, _: &dyn askama::Values) -> askama::Result<()> {
        Ok(write!(to, "{self}")?)
    }
}

impl HtmlSafe for Took {}
impl FastWritable for Took {
    fn write_into(&self, to: &mut dyn fmt::Write, _: &dyn askama::Values) -> askama::Result<()> {
        Ok(write!(to, "{self}")?)
    }
}

/// A page without what ticks, in pieces.
pub(crate) fn still(page: &str) -> impl Iterator<Item = &str> {
    page.split(MARK).enumerate().map(|(at, piece)| match (at, piece.find(END)) {
        (0, _) | (_, None) => piece,
        (_, Some(end)) => &piece[end..],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn pieces(page: &str) -> String {
        still(page).collect()
    }

    #[test]
    fn a_page_is_the_same_one_a_second_later() {
        let page = |next: i64, now: i64| {
            let (away, took) = (Away { at: at(next), now: at(now) }, Took::since(at(0), at(now)));
            format!("<p>next {away}</p> <p>runs for {took}</p>")
        };
        assert!(page(60, 5).contains(">in 55 s</time>") && page(60, 5).contains(">5 s</time>"), "{}", page(60, 5));
        assert_ne!(page(60, 5), page(60, 6));
        assert_eq!(pieces(&page(60, 5)), pieces(&page(60, 6)));
        assert_ne!(pieces(&page(60, 5)), pieces(&page(61, 5)), "another instant is another page");
        assert_ne!(pieces("<p>a</p>"), pieces("<p>b</p>"));
    }

    #[test]
    fn what_has_ended_does_not_tick() {
        let took = Took { from: Some(at(1)), to: Some(at(3)), now: at(9) };
        assert_eq!((took.to_string(), Took { from: None, ..took }.to_string()), ("2.0 s".to_owned(), "–".to_owned()));
    }
}
