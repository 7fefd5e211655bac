//! Groups of tasks: they share the beginning of their names, stand in chains as one, and may be mapped as one.

use std::marker::PhantomData;

use super::{
    body::IntoTask,
    draft::Dag,
    mapping::{Item, Source},
    spec::{GroupIndex, GroupSpec, TaskSpec},
    task::Task,
};
use crate::ids::TaskId;

/// The handle of a group: Airflow's `TaskGroup`. In a chain it stands for its tasks: what comes before it comes before
/// those that begin it, what comes after it after those that end it. `I` is what a mapped group has for each index.
///
/// ```
/// use orchestrator::prelude::*;
///
/// async fn list(_: Context) -> TaskResult<Vec<String>> {
///     Ok(vec!["a.csv".to_owned(), "b.csv".to_owned()])
/// }
///
/// async fn read(_: Context, file: String) -> TaskResult<usize> {
///     Ok(file.len())
/// }
///
/// async fn check(_: Context, rows: usize) -> TaskResult<()> {
///     if rows > 0 { Ok(()) } else { Err(Skip("empty".to_owned()).into()) }
/// }
///
/// async fn sum(_: Context, rows: Vec<usize>) -> TaskResult<usize> {
///     Ok(rows.into_iter().sum())
/// }
///
/// let dag = Dag::new("files");
/// let each = dag.group("each").expand(dag.task("list", list));
/// let rows = each.task("read", read.with(each.item()));
/// each.task("check", check.with(rows));
/// dag.task("sum", sum.with(rows.collected()));
/// # dag.build().unwrap();
/// ```
pub struct Group<'d, I = ()> {
    pub(super) dag: &'d Dag,
    pub(super) index: GroupIndex,
    item: PhantomData<fn() -> I>,
}

impl<I> Clone for Group<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I> Copy for Group<'_, I> {}

impl<I> std::fmt::Debug for Group<'_, I> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Group({})", self.dag.name_of(End::Group(self.index)))
    }
}

impl Dag {
    /// Adds a group. Its tasks are called `group.task`.
    pub fn group(&self, group_id: &str) -> Group<'_> {
        let spec = GroupSpec { group_id: TaskId::from(group_id), parent: None, over: None };
        Group { dag: self, index: self.add_group(spec), item: PhantomData }
    }
}

impl<'d, I> Group<'d, I> {
    /// Adds a task to the group; see [`Dag::task`].
    pub fn task<M, B: IntoTask<M>>(&self, task_id: &str, body: B) -> Task<'d, B::Output> {
        self.dag.add_task(&self.name_of(task_id), Some(self.index), body)
    }

    /// Adds a group to the group.
    pub fn group(&self, group_id: &str) -> Group<'d> {
        let spec = GroupSpec { group_id: self.name_of(group_id).into(), parent: Some(self.index), over: None };
        Group { dag: self.dag, index: self.dag.add_group(spec), item: PhantomData }
    }

    fn name_of(&self, name: &str) -> String {
        format!("{}.{name}", self.dag.name_of(End::Group(self.index)))
    }
}

impl<'d> Group<'d> {
    /// Maps the group: all of its tasks have one instance for each item, and those of one index wait for each other
    /// alone. Airflow's mapped task group.
    pub fn expand<S: Source>(self, source: S) -> Group<'d, Each<S::Item>> {
        self.dag.map_group(self.index, source.into_over());
        Group { dag: self.dag, index: self.index, item: PhantomData }
    }
}

/// Marks a group that has an item for each index.
#[derive(Debug)]
pub struct Each<I>(PhantomData<fn() -> I>);

impl<'d, I> Group<'d, Each<I>> {
    /// The item of the index that a task of the group runs for: give it to the task as an input.
    #[must_use]
    pub fn item(&self) -> Item<'d, I> {
        Item::of(self.dag, self.index)
    }
}

/// One end of an edge as the author wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Task(usize),
    Group(GroupIndex),
}

/// The edges between tasks that these edges stand for. Those inside a group come first: they say which of its tasks
/// begin and end it.
pub(super) fn resolve(tasks: &[TaskSpec], groups: &[GroupSpec], mut edges: Vec<(End, End)>) -> Vec<(usize, usize)> {
    let groups = Groups { tasks, groups };
    edges.sort_by_key(|(from, to)| std::cmp::Reverse(groups.depth_of_both(*from, *to)));
    let mut resolved: Vec<(usize, usize)> = Vec::new();
    for (from, to) in edges {
        let ends = match from {
            End::Task(node) => vec![node],
            End::Group(group) => groups.without(group, &resolved, |edge| (edge.0, edge.1)),
        };
        let begins = match to {
            End::Task(node) => vec![node],
            End::Group(group) => groups.without(group, &resolved, |edge| (edge.1, edge.0)),
        };
        resolved.extend(ends.iter().flat_map(|from| begins.iter().map(move |to| (*from, *to))));
    }
    resolved.sort_unstable();
    resolved.dedup();
    resolved
}

struct Groups<'g> {
    tasks: &'g [TaskSpec],
    groups: &'g [GroupSpec],
}

impl Groups<'_> {
    /// The groups around, the nearest first.
    fn around(&self, end: End) -> Vec<GroupIndex> {
        let nearest = match end {
            End::Task(node) => self.tasks[node].group,
            End::Group(group) => self.groups[group.0].parent,
        };
        std::iter::successors(nearest, |group| self.groups[group.0].parent).collect()
    }

    fn depth_of_both(&self, one: End, other: End) -> usize {
        let around = self.around(one);
        self.around(other).iter().filter(|group| around.contains(group)).count()
    }

    /// The tasks of a group from which no edge leads, in the direction that `step` reads, to a task of the group.
    fn without(
        &self,
        group: GroupIndex,
        edges: &[(usize, usize)],
        step: fn(&(usize, usize)) -> (usize, usize),
    ) -> Vec<usize> {
        let is_inside = |node: usize| self.around(End::Task(node)).contains(&group);
        let goes_on = |node: usize| edges.iter().map(step).any(|(at, next)| at == node && is_inside(next));
        (0..self.tasks.len()).filter(|node| is_inside(*node) && !goes_on(*node)).collect()
    }
}
