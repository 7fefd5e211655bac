//! What the pages, the API and the CLI read: one file a subject.

pub mod assets;
pub mod calendar;
pub mod dags;
pub mod events;
pub mod home;
pub mod instances;
pub mod processes;
pub mod runs;
pub mod select;
pub mod settings;
pub mod versions;
pub mod waits;
pub mod xcoms;

/// Which part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// At most so many.
    pub limit: i64,
    /// After so many.
    pub offset: i64,
}

/// A part of a list, and how long the whole list is.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The part.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub total: i64,
}
