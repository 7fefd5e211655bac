//! Somebody whom an `OpenID` provider knows.

use super::Role;

/// Who an `OpenID` provider says it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What never changes: the provider and its subject.
    pub id: String,
    /// How they may be called: the first that can be a name here counts. A user who is known keeps that of the first time.
    pub names: Vec<String>,
    /// The role that the provider says; none: an admin says it.
    pub role: Option<Role>,
}
