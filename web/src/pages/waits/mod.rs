//! Why something waits, in a sentence.

mod instance;
mod run;

use chrono::{DateTime, Utc};
use orchestrator::store::pages::waits::Holder;

pub(crate) use self::{instance::of_instance, run::of_run};
use super::{links, ticking::Away, words};
use crate::auth;

/// Those who hold what something waits for, as many as are named.
const NAMED: i64 = 5;

const PAUSED: &str = "It waits until the DAG is unpaused.";

/// Why, and who holds what it waits for.
pub(crate) struct Why {
    /// What Airflow calls the dependency that is not met (`ti_deps/deps`).
    pub(crate) dependency: &'static str,
    /// A sentence without its end, if an instant or holders follow.
    pub(crate) text: String,
    /// When it goes on by itself.
    pub(crate) due: Option<DateTime<Utc>>,
    pub(crate) holders: Vec<(String, String)>,
}

impl Why {
    fn new(dependency: &'static str, text: impl Into<String>) -> Self {
        Self { dependency, text: text.into(), due: None, holders: Vec::new() }
    }

    /// Until an instant; a sentence that is without one ends here.
    fn until(dependency: &'static str, text: impl Into<String>, due: Option<DateTime<Utc>>) -> Self {
        Self { due, ..Self::new(dependency, text) }
    }

    /// Held by these, those of DAGs that whoever looks may not see left out.
    fn held_by(mut self, holders: Vec<Holder>) -> Self {
        let seen = holders.into_iter().filter(|holder| auth::sees_dag(&holder.dag_id));
        self.holders = seen
            .map(|holder| {
                let name = match holder.map_index {
                    -1 => format!("{}.{}", holder.dag_id, holder.task_id),
                    index => format!("{}.{} [{index}]", holder.dag_id, holder.task_id),
                };
                (links::task(&holder.dag_id, &holder.run_id, &holder.task_id, holder.map_index), name)
            })
            .collect();
        self
    }

    /// As it is said where there are no links.
    pub(crate) fn spoken(&self) -> String {
        let holders = self.holders.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
        let due = self.due.map_or_else(String::new, |at| words::plain(words::Moment(Some(at))));
        [self.text.as_str(), &due, &holders].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// How far away it is that it goes on.
    pub(crate) fn away(&self, now: DateTime<Utc>) -> Option<Away> {
        self.due.map(|at| Away { at, now })
    }
}
