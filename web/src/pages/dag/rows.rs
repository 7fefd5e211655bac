//! The rows of a grid: the tasks in the order of the graph, each below the group that it is in.

use std::collections::{HashMap, HashSet};

use orchestrator::{
    dag::{Graph, GroupIndex},
    ids::{Node, TaskId},
};

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pages) struct Row {
    /// The whole name.
    pub(in crate::pages) id: TaskId,
    /// In how many groups it is.
    pub(in crate::pages) depth: usize,
    /// The tasks that it stands for.
    pub(in crate::pages) nodes: Vec<Node>,
    /// Of a group: whether its rows are hidden.
    pub(in crate::pages) folded: Option<bool>,
}

impl Row {
    /// Its name within its group.
    pub(in crate::pages) fn name(&self) -> &str {
        let id = self.id.as_str();
        if self.depth == 0 { id } else { id.rsplit('.').next().unwrap_or(id) }
    }
}

#[derive(Clone, Copy)]
enum Item {
    Task(Node),
    Group(GroupIndex),
}

type Children = HashMap<Option<GroupIndex>, Vec<Item>>;

/// The rows of a graph whose groups of these names are folded.
pub(super) fn rows(graph: &Graph, folded: &[&str]) -> Vec<Row> {
    let mut children = Children::new();
    let mut seen = HashSet::new();
    for (node, task) in graph.nodes().zip(graph.tasks()) {
        let (mut item, mut parent) = (Item::Task(node), task.group);
        loop {
            children.entry(parent).or_default().push(item);
            let Some(group) = parent.filter(|group| seen.insert(*group)) else { break };
            item = Item::Group(group);
            parent = graph.groups().get(group.0).and_then(|group| group.parent);
        }
    }
    let mut rows = Vec::new();
    below(graph, &children, None, 0, folded, &mut rows);
    rows
}

fn below(
    graph: &Graph,
    children: &Children,
    parent: Option<GroupIndex>,
    depth: usize,
    folded: &[&str],
    rows: &mut Vec<Row>,
) {
    for item in children.get(&parent).into_iter().flatten() {
        match item {
            Item::Task(node) => {
                let Some(task) = graph.task(*node) else { continue };
                rows.push(Row { id: task.task_id.clone(), depth, nodes: vec![*node], folded: None });
            }
            Item::Group(group) => {
                let Some(spec) = graph.groups().get(group.0) else { continue };
                let is_folded = folded.contains(&spec.group_id.as_str());
                let at = rows.len();
                let row = Row { id: spec.group_id.clone(), depth, nodes: Vec::new(), folded: Some(is_folded) };
                rows.push(row);
                below(graph, children, Some(*group), depth + 1, folded, rows);
                rows[at].nodes = rows[at + 1..]
                    .iter()
                    .filter(|row| row.folded != Some(false))
                    .flat_map(|row| row.nodes.clone())
                    .collect();
                if is_folded {
                    rows.truncate(at + 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestrator::prelude::*;

    use super::*;

    async fn nothing(_: Context) -> TaskResult<()> {
        Ok(())
    }

    #[test]
    fn tasks_stand_below_their_groups_and_folded_groups_hide_them() {
        let dag = Dag::new("d");
        let first = dag.task("first", nothing);
        let load = dag.group("load");
        let inner = load.group("inner");
        let (a, b) = (load.task("a", nothing), inner.task("b", nothing));
        dag.chain(first >> a >> b >> dag.task("last", nothing));
        let registry = orchestrator::dag::Registry::build(vec![dag]).unwrap();
        let graph = registry.definitions()[0].graph();
        let shown = |folded: &[&str]| -> Vec<(String, usize, usize)> {
            let rows = rows(graph, folded);
            rows.iter().map(|row| (row.name().to_owned(), row.depth, row.nodes.len())).collect()
        };
        let row = |name: &str, depth, tasks| (name.to_owned(), depth, tasks);
        let open = [
            row("first", 0, 1),
            row("load", 0, 2),
            row("a", 1, 1),
            row("inner", 1, 1),
            row("b", 2, 1),
            row("last", 0, 1),
        ];
        assert_eq!(shown(&[]), open);
        assert_eq!(shown(&["load"]), [row("first", 0, 1), row("load", 0, 2), row("last", 0, 1)]);
        assert_eq!(shown(&["load.inner"])[1..4], [row("load", 0, 2), row("a", 1, 1), row("inner", 1, 1)]);
    }
}
