//! The shape of a graph: who comes after whom, what is mapped over what, and what follows from that.

use petgraph::{algo::toposort, graph::DiGraph};

use super::{Graph, setups::Afar};
use crate::{
    dag::spec::{GroupIndex, GroupSpec, Mapped, Over, Role, TaskSpec, WeightRule},
    ids::{Node, TaskId},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Neighbours {
    upstream: Vec<Vec<Node>>,
    downstream: Vec<Vec<Node>>,
    /// What each node has to do with others that are not its neighbours; empty where the DAG has no setups.
    pub(super) afar: Vec<Afar>,
    /// Every node after all that it comes after.
    in_order: Vec<Node>,
    edges: Vec<Edge>,
    /// What somebody is mapped over.
    sources: Vec<Node>,
    /// The priority of each node; empty where each has that of its own weight.
    priorities: Vec<i32>,
    /// The mapped group that each node is in; empty where the DAG has none.
    mapped_groups: Vec<Option<GroupIndex>>,
}

/// An edge, as the counts of ended upstream tasks need it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The upstream task.
    pub from: Node,
    /// The task after it.
    pub to: Node,
    /// Whether both are in one mapped group, so that an instance waits for that of the same index alone.
    pub within_lane: bool,
}

impl Graph {
    /// Its groups; a [`GroupIndex`] is a position in here.
    #[must_use]
    pub fn groups(&self) -> &[GroupSpec] {
        &self.groups
    }

    /// What `node` has one instance for each item of: itself, or the group that it is in.
    #[must_use]
    pub fn mapped(&self, node: Node) -> Option<Mapped> {
        match self.mapped_group(node) {
            Some(group) => Some(Mapped::Group(group)),
            None => self.task(node)?.over.as_ref().map(|_| Mapped::Task(node)),
        }
    }

    /// The mapped group that `node` is in.
    #[must_use]
    pub fn mapped_group(&self, node: Node) -> Option<GroupIndex> {
        *self.neighbours.mapped_groups.get(usize::try_from(node.0).ok()?)?
    }

    /// What a mapped task or group is mapped over.
    #[must_use]
    pub fn over(&self, mapped: Mapped) -> Option<&Over> {
        match mapped {
            Mapped::Task(node) => self.task(node)?.over.as_ref(),
            Mapped::Group(group) => self.groups.get(group.0)?.over.as_ref(),
        }
    }

    /// The tasks that have one instance for each item of it.
    #[must_use]
    pub fn members(&self, mapped: Mapped) -> Vec<Node> {
        match mapped {
            Mapped::Task(node) => vec![node],
            Mapped::Group(group) => self.nodes().filter(|node| self.mapped_group(*node) == Some(group)).collect(),
        }
    }

    /// The task whose result says how many instances `node` has.
    #[must_use]
    pub fn source(&self, node: Node) -> Option<Node> {
        match self.over(self.mapped(node)?)? {
            Over::Result(source) => Some(*source),
            Over::Values(_) => None,
        }
    }

    /// Whether `node` comes directly after the task whose result says how many instances it has.
    #[must_use]
    pub fn comes_after_source(&self, node: Node) -> bool {
        self.source(node).is_some_and(|source| self.upstream(node).contains(&source))
    }

    /// Whether somebody is mapped over what `node` returns.
    #[must_use]
    pub fn is_source(&self, node: Node) -> bool {
        self.neighbours.sources.contains(&node)
    }

    /// Whether a group is mapped over what `node` returns.
    #[must_use]
    pub fn is_source_of_group(&self, node: Node) -> bool {
        self.groups.iter().any(|group| group.over == Some(Over::Result(node)))
    }

    /// Whether both are in one mapped group: then an instance has to do with that of the same index alone.
    #[must_use]
    pub fn share_lanes(&self, one: Node, other: Node) -> bool {
        self.mapped_group(one).is_some_and(|group| self.mapped_group(other) == Some(group))
    }

    /// The edge between two nodes.
    #[must_use]
    pub fn edge(&self, from: Node, to: Node) -> Edge {
        Edge { from, to, within_lane: self.share_lanes(from, to) }
    }

    /// Every node after all that it comes after. Only of a graph without cycles, which is what is stored.
    #[must_use]
    pub fn in_order(&self) -> &[Node] {
        &self.neighbours.in_order
    }

    pub(crate) fn is_teardown(&self, node: Node) -> bool {
        self.task(node).is_some_and(|task| task.role.is_teardown())
    }

    /// Its tasks; a [`Node`] is a position in here.
    #[must_use]
    pub fn tasks(&self) -> &[TaskSpec] {
        &self.tasks
    }

    /// Every edge, from upstream to downstream.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.neighbours.edges
    }

    /// The task at `node`, if the graph has one there.
    #[must_use]
    pub fn task(&self, node: Node) -> Option<&TaskSpec> {
        self.tasks.get(usize::try_from(node.0).ok()?)
    }

    /// Where the task of that name is.
    #[must_use]
    pub fn node(&self, task_id: &TaskId) -> Option<Node> {
        self.tasks.iter().position(|task| task.task_id == *task_id).map(|position| Node(position as i32))
    }

    /// The tasks directly after `node`.
    #[must_use]
    pub fn downstream(&self, node: Node) -> &[Node] {
        neighbours(&self.neighbours.downstream, node)
    }

    /// The tasks directly before `node`.
    #[must_use]
    pub fn upstream(&self, node: Node) -> &[Node] {
        neighbours(&self.neighbours.upstream, node)
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.tasks.len() as i32).map(Node)
    }

    /// The tasks that decide how a run ended: those that nothing but teardowns comes after, and of the teardowns only
    /// the decisive ones.
    #[must_use]
    pub fn leaves(&self) -> Vec<Node> {
        let role = |node: Node| self.task(node).map(|task| task.role).unwrap_or_default();
        let is_leaf = |node: &Node| match role(*node) {
            Role::Teardown => false,
            Role::DecisiveTeardown => true,
            Role::Work | Role::Setup => self.downstream(*node).iter().all(|next| role(*next).is_teardown()),
        };
        self.nodes().filter(is_leaf).collect()
    }

    /// The priority of a task: its weight, and by its weight rule those of the tasks after or before it.
    #[must_use]
    pub fn priority(&self, node: Node) -> i32 {
        let by_rule = usize::try_from(node.0).ok().and_then(|index| self.neighbours.priorities.get(index));
        by_rule.copied().or_else(|| self.task(node).map(|task| task.priority_weight)).unwrap_or_default()
    }

    /// `start` and all that can be reached from it, following `step`.
    pub(crate) fn reachable<'g>(&'g self, start: &[Node], step: impl Fn(&'g Self, Node) -> &'g [Node]) -> Vec<Node> {
        let mut seen: Vec<bool> = vec![false; self.tasks.len()];
        let mut open = start.to_vec();
        while let Some(node) = open.pop() {
            if let Some(seen) = seen.get_mut(node.0 as usize)
                && !*seen
            {
                *seen = true;
                open.extend_from_slice(step(self, node));
            }
        }
        self.nodes().filter(|node| seen[node.0 as usize]).collect()
    }

    pub(super) fn linked(mut self) -> Self {
        let empty = vec![Vec::new(); self.tasks.len()];
        let mut neighbours = Neighbours { upstream: empty.clone(), downstream: empty, ..Neighbours::default() };
        for (from, to) in &self.edges {
            neighbours.downstream[from.0 as usize].push(*to);
            neighbours.upstream[to.0 as usize].push(*from);
        }
        if self.groups.iter().any(|group| group.over.is_some()) {
            neighbours.mapped_groups = self.tasks.iter().map(|task| self.mapped_around(task.group)).collect();
        }
        self.neighbours = neighbours;
        let overs = self.tasks.iter().map(|task| &task.over).chain(self.groups.iter().map(|group| &group.over));
        self.neighbours.sources = overs
            .filter_map(|over| match over {
                Some(Over::Result(source)) => Some(*source),
                _ => None,
            })
            .collect();
        self.neighbours.edges = self.edges.iter().map(|(from, to)| self.edge(*from, *to)).collect();
        // A cycle is told by the checks.
        let sorted = toposort(&self.as_petgraph(), None).unwrap_or_default();
        self.neighbours.in_order = sorted.into_iter().map(|place| Node(place.index() as i32)).collect();
        if self.tasks.iter().any(|task| task.weight_rule != WeightRule::Absolute) {
            self.neighbours.priorities = self.nodes().map(|node| self.priority_by_rule(node)).collect();
        }
        if self.tasks.iter().any(|task| task.role == Role::Setup) {
            self.neighbours.afar = self.all_afar();
        }
        self
    }

    fn priority_by_rule(&self, node: Node) -> i32 {
        let weight = |node: Node| self.task(node).map_or(0, |task| task.priority_weight);
        let counted = match self.task(node).map(|task| task.weight_rule).unwrap_or_default() {
            WeightRule::Absolute => return weight(node),
            WeightRule::Downstream => self.reachable(&[node], Self::downstream),
            WeightRule::Upstream => self.reachable(&[node], Self::upstream),
        };
        counted.into_iter().map(weight).fold(0, i32::saturating_add)
    }

    /// The nearest mapped group around.
    pub(in crate::dag) fn mapped_around(&self, group: Option<GroupIndex>) -> Option<GroupIndex> {
        let around = |group: &GroupIndex| self.groups.get(group.0).and_then(|group| group.parent);
        std::iter::successors(group, around).find(|group| self.groups.get(group.0).is_some_and(|it| it.over.is_some()))
    }

    /// The same graph for the algorithms of petgraph; a node's index is its place.
    pub(in crate::dag) fn as_petgraph(&self) -> DiGraph<&TaskId, ()> {
        let mut petgraph = DiGraph::with_capacity(self.tasks.len(), self.edges.len());
        let places: Vec<_> = self.tasks.iter().map(|task| petgraph.add_node(&task.task_id)).collect();
        for (from, to) in &self.edges {
            petgraph.add_edge(places[from.0 as usize], places[to.0 as usize], ());
        }
        petgraph
    }
}

fn neighbours(lists: &[Vec<Node>], node: Node) -> &[Node] {
    usize::try_from(node.0).ok().and_then(|index| lists.get(index)).map_or(&[], Vec::as_slice)
}
