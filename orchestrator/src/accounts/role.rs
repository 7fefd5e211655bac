//! The roles of Airflow's simple auth manager, and `public` as in Airflow's FAB: each may do all that the one before it may.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a user may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing, but with the DAGs that were granted.
    Public,
    /// Look at DAGs, runs, tasks, logs and assets.
    Viewer,
    /// Also trigger, clear, mark, pause, backfill.
    User,
    /// Also change pools, variables, connections and assets.
    Op,
    /// Everything, users included.
    Admin,
}

/// There is no such role.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no role {0:?}: it is one of public, viewer, user, op, admin")]
pub struct BadRole(String);

impl Role {
    /// Every role, the weakest first.
    pub const ALL: [Self; 5] = [Self::Public, Self::Viewer, Self::User, Self::Op, Self::Admin];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Viewer => "viewer",
            Self::User => "user",
            Self::Op => "op",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = BadRole;

    /// In any case: Airflow writes `Viewer`.
    fn from_str(text: &str) -> Result<Self, BadRole> {
        let found = Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| BadRole(text.to_owned()))
    }
}
