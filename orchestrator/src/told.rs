//! What a try tells of itself beside its log: where more of it is (Airflow's extra links), and the values that it works
//! with (Airflow's rendered templates). It travels and is kept as lines of the log are, and stands in none.

use serde::{Deserialize, Serialize};

/// What is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The address of something elsewhere.
    Link,
    /// A value.
    Rendered,
}

impl Kind {
    /// The logger of its lines; `store::logs` and an index know these names.
    #[must_use]
    pub(crate) const fn logger(self) -> &'static str {
        match self {
            Self::Link => "streamcommerce.link",
            Self::Rendered => "streamcommerce.rendered",
        }
    }
}

/// A name, and what is told of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// What it is called.
    pub name: String,
    /// What it is: for a link, its address.
    pub value: String,
}

/// Longer values are cut: as JSON, too, they must fit into a line.
const LENGTH_MAX: usize = 10_000;

impl Told {
    pub(crate) fn of(name: &str, value: &str) -> Self {
        Self { name: cut(name), value: cut(value) }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LENGTH_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
