//! Who is in.

use orchestrator::{
    accounts::{Role, Sight},
    ids::DagId,
    store::users::UserRow,
};

/// Who is in: a user, or anybody where nobody need sign in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) user: Option<UserRow>,
    pub(crate) role: Role,
}

impl From<UserRow> for Visitor {
    fn from(user: UserRow) -> Self {
        Self { role: user.role, user: Some(user) }
    }
}

impl Visitor {
    /// Somebody of whom nobody asks who it is.
    pub(crate) const fn anybody() -> Self {
        Self { user: None, role: Role::Admin }
    }

    /// What they may do with a DAG: what they may do with all, or more if that was granted.
    pub(crate) fn role_with(&self, dag: &DagId) -> Role {
        let granted = self.user.as_ref().and_then(|user| user.dags.get(dag));
        granted.map_or(self.role, |granted| self.role.max(*granted))
    }

    /// Which DAGs they see.
    pub(crate) fn sight(&self) -> Sight {
        match &self.user {
            Some(user) if self.role < Role::Viewer => Sight::Only(user.dags.keys().cloned().collect()),
            _ => Sight::Everything,
        }
    }
}
