//! Ids as types, so that no signature takes a bare string or number for one.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<S: Into<String>> From<S> for $name {
            fn from(name: S) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

macro_rules! key_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

name_id!(
    /// Names a DAG: Airflow's `dag_id`.
    DagId
);
name_id!(
    /// Names a task within its DAG: Airflow's `task_id`.
    TaskId
);
name_id!(
    /// Names a run within its DAG: Airflow's `dag_run_id`.
    RunId
);
key_id!(
    /// The database's key of a version of a DAG.
    VersionId(i64)
);
key_id!(
    /// The database's key of a run.
    RunKey(i64)
);
key_id!(
    /// The database's key of a task instance.
    InstanceKey(i64)
);
key_id!(
    /// The database's key of a user.
    UserId(i64)
);
key_id!(
    /// The database's key of a backfill.
    BackfillId(i64)
);
key_id!(
    /// A task's position in the graph of its version.
    Node(i32)
);
key_id!(
    /// The fencing token of one claim. A rescheduled try keeps its number and gets a new attempt.
    AttemptId(uuid::Uuid)
);
key_id!(
    /// One incarnation of a scheduler, worker or web process.
    ProcessId(uuid::Uuid)
);

/// Whether `name` may name a DAG, a task or a run: Airflow's rule for keys (letters, digits, `_`, `-`, `.`; at most
/// 250 characters).
#[must_use]
pub fn is_valid_key(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= KEY_LENGTH_MAX
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Airflow's limit for ids.
const KEY_LENGTH_MAX: usize = 250;
