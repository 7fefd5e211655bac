//! What a branch or a short-circuit leaves out.

use super::Graph;
use crate::{
    dag::{output::Next, spec::GroupIndex},
    ids::{Node, TaskId},
};

/// A branch chose what does not come directly after it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the branch chose {chosen}, which does not come directly after it; {direct} do")]
pub struct NotAfter {
    chosen: TaskId,
    direct: String,
}

impl Graph {
    /// The tasks that do not run after `node` has returned `next`, whatever their trigger rules say. Airflow's
    /// `skip_all_except`: a task that can also be reached from a chosen one is not skipped.
    ///
    /// # Errors
    /// A task, or a group, was chosen that does not come directly after it.
    pub fn skipped_by(&self, node: Node, next: &Next) -> Result<Vec<Node>, NotAfter> {
        let direct = self.downstream(node);
        let chosen = match next {
            Next::All => return Ok(Vec::new()),
            Next::NothingDirectly => {
                return Ok(direct.iter().copied().filter(|after| !self.is_teardown(*after)).collect());
            }
            Next::Nothing => {
                let after = self.reachable(direct, Self::downstream);
                return Ok(after.into_iter().filter(|after| !self.is_teardown(*after)).collect());
            }
            Next::Only(chosen) => chosen,
        };
        let mut followed = Vec::new();
        for name in chosen {
            let begins = self.begins_with(name, direct);
            if begins.is_empty() {
                return Err(NotAfter { chosen: name.clone(), direct: self.names(direct) });
            }
            followed.extend(begins);
        }
        let followed = self.reachable(&followed, Self::downstream);
        Ok(direct.iter().copied().filter(|after| !followed.contains(after)).collect())
    }

    /// The tasks directly after a branch that this name stands for: a task, or what begins a group. Airflow's
    /// `_expand_task_group_roots`.
    fn begins_with(&self, name: &TaskId, direct: &[Node]) -> Vec<Node> {
        let Some(group) = self.groups().iter().position(|group| group.group_id == *name) else {
            return self.node(name).filter(|task| direct.contains(task)).into_iter().collect();
        };
        direct.iter().copied().filter(|node| self.groups_around(*node).any(|around| around.0 == group)).collect()
    }

    /// The groups that a task is in, the nearest first.
    fn groups_around(&self, node: Node) -> impl Iterator<Item = GroupIndex> {
        let nearest = self.task(node).and_then(|task| task.group);
        std::iter::successors(nearest, |group| self.groups().get(group.0)?.parent)
    }

    fn names(&self, nodes: &[Node]) -> String {
        let names = nodes.iter().filter_map(|node| self.task(*node)).map(|task| task.task_id.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}
