//! Somebody whom an `OpenID` provider knows.

use super::Role;

/// Who an `OpenID` provider says it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What never changes: the provider and its subject.
    pub id: String,
    /// How they want to be called; a user who is known keeps the name of the first time.
    pub username: String,
    /// The role that the provider says; none: an admin says it.
    pub role: Option<Role>,
}
