//! Where pages are. Ids may have any character in them.

use orchestrator::{
    ids::{DagId, RunId, TaskId},
    store::pages::runs,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What needs no escape in a part of a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as a part of a path, or as a value in a query string.
#[must_use]
pub fn part(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

pub(crate) fn dag(dag: &DagId) -> String {
    format!("/dags/{}", part(dag.as_str()))
}

pub(crate) fn run(of: &DagId, run: &RunId) -> String {
    format!("{}/runs/{}", dag(of), part(run.as_str()))
}

pub(crate) fn task(of: &DagId, in_run: &RunId, task: &TaskId, map_index: i32) -> String {
    let page = format!("{}/tasks/{}", run(of, in_run), part(task.as_str()));
    if map_index < 0 { page } else { format!("{page}?map_index={map_index}") }
}

/// The same page of the runs before and after.
pub(crate) struct Beside {
    pub(crate) earlier: Option<String>,
    pub(crate) later: Option<String>,
}

impl Beside {
    pub(crate) fn of(runs: &runs::Beside, link: impl Fn(&RunId) -> String) -> Self {
        Self { earlier: runs.earlier.as_ref().map(&link), later: runs.later.as_ref().map(&link) }
    }
}

/// A query string of those of these that have a value.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", part(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// A page with a query string before the one that it may have.
pub(crate) fn with(page: &str, query: &str) -> String {
    match page.split_once('?') {
        Some((page, more)) => format!("{page}{query}&{more}"),
        None => format!("{page}{query}"),
    }
}

/// A page of ours: nobody is sent to another site.
pub(crate) fn local(next: &str) -> String {
    let is_ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\n', '\r', '\t']);
    if is_ours { next.to_owned() } else { "/dags".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_in_an_id_stays_in_its_part() {
        let (dag_id, run_id) = (DagId::from("a/b"), RunId::from("manual__2026-01-01T00:00:00+00:00"));
        assert_eq!(run(&dag_id, &run_id), "/dags/a%2Fb/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00");
        assert_eq!(query(&[("q", "a&b"), ("state", ""), ("n", "1")]), "?q=a%26b&n=1");
        assert_eq!(query(&[("q", "")]), "");
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(local("/dags/a?b=c"), "/dags/a?b=c");
        for next in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "dags"] {
            assert_eq!(local(next), "/dags", "{next:?}");
        }
    }
}
