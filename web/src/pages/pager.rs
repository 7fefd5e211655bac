//! The pages of a long list.

use orchestrator::store::pages::Page as Part;

use super::links;

/// How far the rows of a list are counted that is read from cursor to cursor: nobody turns that many pages.
pub(crate) const COUNTED: i64 = 10_000;

/// Where in a list a page is, and how to go on.
#[derive(Clone, Debug)]
pub(crate) struct Pager {
    pub(crate) total: i64,
    part: Part,
    /// What the list was asked for, but for the place in it.
    wanted: Vec<(&'static str, String)>,
    /// How to go on, where a list is read from cursor to cursor; its offset is then only told.
    cursors: Option<Cursors>,
}

/// What leads to the pages before and after: they cost what the first one does.
#[derive(Clone, Debug)]
pub(crate) struct Cursors {
    pub(crate) previous: Option<String>,
    pub(crate) next: Option<String>,
}

impl Pager {
    pub(crate) fn new(part: Part, total: i64, wanted: &[(&'static str, &str)]) -> Self {
        let wanted = wanted.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { total, part, wanted, cursors: None }
    }

    pub(crate) fn with_cursors(self, cursors: Cursors) -> Self {
        Self { cursors: Some(cursors), ..self }
    }

    /// How long the list is, as far as it was counted.
    pub(crate) fn whole(&self) -> String {
        if self.is_counted() { self.total.to_string() } else { format!("{}+", self.total) }
    }

    fn is_counted(&self) -> bool {
        self.cursors.is_none() || self.total < COUNTED
    }

    pub(crate) fn is_needed(&self) -> bool {
        self.total > self.part.limit || self.part.offset > 0
    }

    pub(crate) fn first(&self) -> i64 {
        if self.is_counted() { (self.part.offset + 1).min(self.total) } else { self.part.offset + 1 }
    }

    pub(crate) fn last(&self) -> i64 {
        let last = self.part.offset + self.part.limit;
        if self.is_counted() { last.min(self.total) } else { last }
    }

    pub(crate) fn earlier(&self) -> Option<String> {
        let offset = (self.part.offset - self.part.limit).max(0);
        match &self.cursors {
            None => (self.part.offset > 0).then(|| self.at(offset, "")),
            Some(cursors) => cursors.previous.as_ref().map(|cursor| self.at(offset, cursor)),
        }
    }

    pub(crate) fn later(&self) -> Option<String> {
        let offset = self.part.offset + self.part.limit;
        match &self.cursors {
            None => (self.last() < self.total).then(|| self.at(offset, "")),
            Some(cursors) => cursors.next.as_ref().map(|cursor| self.at(offset, cursor)),
        }
    }

    fn at(&self, offset: i64, cursor: &str) -> String {
        let offset = offset.to_string();
        let pairs = self.wanted.iter().map(|(name, value)| (*name, value.as_str()));
        let pairs: Vec<_> =
            pairs.chain([("offset", if offset == "0" { "" } else { &offset }), ("cursor", cursor)]).collect();
        let query = links::query(&pairs);
        if query.is_empty() { "?".to_owned() } else { query }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_from_the_first_page_to_the_last() {
        let at = |offset| Pager::new(Part { limit: 10, offset }, 25, &[("q", "a b"), ("state", "")]);
        assert_eq!((at(0).earlier(), at(0).later()), (None, Some("?q=a%20b&offset=10".to_owned())));
        assert_eq!((at(10).earlier(), at(10).last()), (Some("?q=a%20b".to_owned()), 20));
        assert_eq!((at(20).later(), at(20).first(), at(20).last()), (None, 21, 25));
        assert!(at(0).is_needed() && !Pager::new(Part { limit: 25, offset: 0 }, 25, &[]).is_needed());
        assert_eq!(Pager::new(Part { limit: 25, offset: 0 }, 0, &[]).first(), 0);
    }

    #[test]
    fn with_cursors_they_lead_on_and_the_offset_is_told() {
        let at = |offset, total, previous: Option<&str>, next: Option<&str>| {
            let [previous, next] = [previous, next].map(|cursor| cursor.map(str::to_owned));
            let pager = Pager::new(Part { limit: 10, offset }, total, &[("q", "")]);
            pager.with_cursors(Cursors { previous, next })
        };
        let first = at(0, 25, None, Some("abc"));
        assert_eq!((first.earlier(), first.later()), (None, Some("?offset=10&cursor=abc".to_owned())));
        let second = at(10, 25, Some("~abc"), None);
        assert_eq!((second.earlier(), second.later()), (Some("?cursor=~abc".to_owned()), None));
        assert_eq!((first.whole(), second.first(), second.last()), ("25".to_owned(), 11, 20));
        let far = at(60_000, COUNTED, Some("~abc"), Some("abc"));
        assert_eq!((far.whole(), far.first(), far.last()), ("10000+".to_owned(), 60_001, 60_010));
    }
}
