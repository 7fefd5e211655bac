//! The pages of a long list.

use orchestrator::store::pages::Page as Part;

use super::links;

/// Where in a list a page is, and how to go on.
#[derive(Clone, Debug)]
pub(crate) struct Pager {
    pub(crate) total: i64,
    part: Part,
    /// What the list was asked for, but for the place in it.
    wanted: Vec<(&'static str, String)>,
}

impl Pager {
    pub(crate) fn new(part: Part, total: i64, wanted: &[(&'static str, &str)]) -> Self {
        let wanted = wanted.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { total, part, wanted }
    }

    pub(crate) fn is_needed(&self) -> bool {
        self.total > self.part.limit || self.part.offset > 0
    }

    pub(crate) fn first(&self) -> i64 {
        (self.part.offset + 1).min(self.total)
    }

    pub(crate) fn last(&self) -> i64 {
        (self.part.offset + self.part.limit).min(self.total)
    }

    pub(crate) fn earlier(&self) -> Option<String> {
        (self.part.offset > 0).then(|| self.at((self.part.offset - self.part.limit).max(0)))
    }

    pub(crate) fn later(&self) -> Option<String> {
        (self.last() < self.total).then(|| self.at(self.part.offset + self.part.limit))
    }

    fn at(&self, offset: i64) -> String {
        let offset = offset.to_string();
        let pairs = self.wanted.iter().map(|(name, value)| (*name, value.as_str()));
        let pairs: Vec<_> = pairs.chain([("offset", if offset == "0" { "" } else { &offset })]).collect();
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
}
