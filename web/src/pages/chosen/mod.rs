//! What is ticked in a list, of whatever DAGs: first what exactly would change, then the deed, and what became of it.

pub(crate) mod instances;
pub(crate) mod runs;

use axum::response::Redirect;

use super::{links, told};

/// The list in which they were ticked, as an address of ours.
struct Back(String);

impl Back {
    fn of(pairs: &[(String, String)], usually: &str) -> Self {
        let back = pairs.iter().find(|(name, _)| name == "back").map_or(usually, |(_, back)| back);
        Self(links::local(back))
    }

    /// To it, which tells what was done to how many.
    fn after(&self, deed: &str, count: usize) -> Redirect {
        told::after_all(&self.0, deed, count)
    }
}
