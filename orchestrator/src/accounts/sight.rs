//! Which DAGs somebody sees.

use crate::ids::DagId;

/// Which DAGs somebody sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sight {
    /// All of them.
    Everything,
    /// Those that were granted.
    Only(Vec<DagId>),
}

impl Sight {
    /// Of these, those that are seen; of none named, all that are seen.
    #[must_use]
    pub fn among(&self, wanted: Vec<String>) -> Option<Vec<String>> {
        match self {
            Self::Everything => Some(wanted),
            Self::Only(seen) => {
                let seen = seen.iter().map(ToString::to_string);
                let seen: Vec<_> = seen.filter(|dag| wanted.is_empty() || wanted.contains(dag)).collect();
                (!seen.is_empty()).then_some(seen)
            }
        }
    }
}
