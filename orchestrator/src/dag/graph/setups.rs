//! Setups and teardowns: what a node waits for although it does not come directly before it.

use super::Graph;
use crate::{dag::spec::Role, ids::Node, readiness::TriggerRule};

/// What a node has to do with others that are not its neighbours; without setups all of it is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Afar {
    /// The setups whose work it needs, those directly before it included.
    setups: Vec<Node>,
    /// Those of them that are not directly before it.
    far_setups: Vec<Node>,
    /// Of a teardown: what lies between its setups and it, but not directly before it.
    scope: Vec<Node>,
    /// The teardowns that have it in their scope.
    torn_down_by: Vec<Node>,
    /// Whether some other node has it among its far setups.
    is_far_setup: bool,
}

impl Graph {
    /// The setups whose work `node` needs: Airflow's `get_upstreams_only_setups`. When it is cleared, so are they.
    #[must_use]
    pub fn setups(&self, node: Node) -> &[Node] {
        self.afar(node).map_or(&[], |afar| &afar.setups)
    }

    /// Those of them that are not directly before it: they have to succeed, whatever its trigger rule.
    #[must_use]
    pub(crate) fn far_setups(&self, node: Node) -> &[Node] {
        self.afar(node).map_or(&[], |afar| &afar.far_setups)
    }

    /// The setups directly before a node whose rule asks for them.
    pub(crate) fn near_setups(&self, node: Node) -> impl Iterator<Item = Node> {
        let asks = self.task(node).is_some_and(|task| task.trigger_rule == TriggerRule::AllDoneSetupSuccess);
        self.upstream(node).iter().copied().filter(move |before| asks && self.is_setup(*before))
    }

    /// What has to end before a teardown runs, although it is not directly before it: Airflow's
    /// `_evaluate_teardown_scope`.
    #[must_use]
    pub(crate) fn scope(&self, node: Node) -> &[Node] {
        self.afar(node).map_or(&[], |afar| &afar.scope)
    }

    /// Whether more than the counts of what is directly before it decides over `node`.
    #[must_use]
    pub(crate) fn looks_beyond(&self, node: Node) -> bool {
        !self.far_setups(node).is_empty() || !self.scope(node).is_empty() || self.near_setups(node).next().is_some()
    }

    /// Whether the end of `node` may let something go on that does not come directly after it. `waits` says of what does
    /// whether it has still to begin: a teardown waits for that, too, and need not be asked yet.
    #[must_use]
    pub(crate) fn is_awaited_afar(&self, node: Node, waits: impl Fn(Node) -> bool) -> bool {
        let Some(afar) = self.afar(node) else { return false };
        let leads_to = |next: Node, teardown: Node| {
            self.upstream(teardown).contains(&next) || self.scope(teardown).binary_search(&next).is_ok()
        };
        // Of a mapped task one instance may wait while another has ended.
        let is_held_up = |teardown: &Node| {
            self.mapped(node).is_none()
                && self.downstream(node).iter().any(|next| waits(*next) && leads_to(*next, *teardown))
        };
        afar.is_far_setup || !afar.torn_down_by.iter().all(is_held_up)
    }

    fn afar(&self, node: Node) -> Option<&Afar> {
        self.neighbours.afar.get(usize::try_from(node.0).ok()?)
    }

    fn is_setup(&self, node: Node) -> bool {
        self.task(node).is_some_and(|task| task.role == Role::Setup)
    }

    /// What every node has to do with those that are not its neighbours.
    pub(super) fn all_afar(&self) -> Vec<Afar> {
        let mut all = vec![Afar::default(); self.tasks().len()];
        for node in self.nodes() {
            let setups = self.needed_setups(node);
            let scope = self.teardown_scope(node);
            for within in &scope {
                all[within.0 as usize].torn_down_by.push(node);
            }
            let far_setups: Vec<_> =
                setups.iter().copied().filter(|setup| !self.upstream(node).contains(setup)).collect();
            for setup in &far_setups {
                all[setup.0 as usize].is_far_setup = true;
            }
            let own = &mut all[node.0 as usize];
            (own.setups, own.far_setups, own.scope) = (setups, far_setups, scope);
        }
        all
    }

    /// A setup upstream counts for a task unless it is torn down before it.
    fn needed_setups(&self, node: Node) -> Vec<Node> {
        if self.is_teardown(node) {
            return Vec::new();
        }
        let after = self.reachable(&[node], Self::downstream);
        let is_open = |setup: &Node| {
            let teardowns: Vec<_> =
                self.downstream(*setup).iter().filter(|next| self.is_teardown(**next)).copied().collect();
            teardowns.is_empty() || teardowns.iter().any(|teardown| after.contains(teardown))
        };
        let before = self.reachable(&[node], Self::upstream);
        before.into_iter().filter(|setup| *setup != node && self.is_setup(*setup) && is_open(setup)).collect()
    }

    fn teardown_scope(&self, node: Node) -> Vec<Node> {
        if !self.is_teardown(node) {
            return Vec::new();
        }
        let direct = self.upstream(node);
        let setups: Vec<_> = direct.iter().copied().filter(|before| self.is_setup(*before)).collect();
        let after_setups = self.reachable(&setups, Self::downstream);
        let before = self.reachable(&[node], Self::upstream);
        let is_between = |within: &Node| *within != node && !direct.contains(within) && after_setups.contains(within);
        before.into_iter().filter(is_between).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    use super::*;

    async fn nothing(_: Context) -> TaskResult<()> {
        Ok(())
    }

    async fn one(_: Context, _: u32) -> TaskResult<()> {
        Ok(())
    }

    fn named(graph: &Graph, nodes: &[Node]) -> Vec<String> {
        nodes.iter().map(|node| graph.task(*node).unwrap().task_id.to_string()).collect()
    }

    fn node(graph: &Graph, task: &str) -> Node {
        graph.node(&task.into()).unwrap()
    }

    /// `make >> (a, b) >> c >> take`, where take is the teardown of make, and `b >> aside`.
    fn graph() -> std::sync::Arc<Graph> {
        let dag = Dag::new("d");
        let [make, a, b, c, take, aside] = ["make", "a", "b", "c", "take", "aside"].map(|task| dag.task(task, nothing));
        dag.chain(make >> (a, b) >> c >> take.as_teardown(make));
        dag.chain(b >> aside);
        dag.build().unwrap().graph().clone()
    }

    #[test]
    fn work_needs_setups_and_of_those_not_directly_before_it_more_than_its_rule_says() {
        let graph = graph();
        let of = |task: &str| {
            let node = node(&graph, task);
            (named(&graph, graph.setups(node)), named(&graph, graph.far_setups(node)), graph.looks_beyond(node))
        };
        let make = || vec!["make".to_owned()];
        assert_eq!(of("a"), (make(), vec![], false));
        assert_eq!(of("c"), (make(), make(), true));
        assert_eq!(of("aside"), (vec![], vec![], false), "it is torn down without regard to it");
        assert_eq!(of("take"), (vec![], vec![], true));
    }

    #[test]
    fn a_setup_that_nothing_tears_down_is_needed_by_all_after_it_and_not_by_itself() {
        let dag = Dag::new("d");
        let [make, work, last] = ["make", "work", "last"].map(|task| dag.task(task, nothing));
        dag.chain(make.as_setup() >> work >> last);
        let dag = dag.build().unwrap();
        let graph = dag.graph();
        let setups = |task| named(graph, graph.setups(node(graph, task)));
        assert_eq!(
            (setups("make"), setups("work"), setups("last")),
            (vec![], vec!["make".into()], vec!["make".into()])
        );
        assert!(graph.is_awaited_afar(node(graph, "make"), |_| false), "last needs it");
        assert!(!graph.is_awaited_afar(node(graph, "work"), |_| false), "nobody tears down");
    }

    #[test]
    fn what_waits_in_the_scope_of_a_teardown_holds_it_up() {
        let dag = Dag::new("d");
        let [make, first, second, last, take] =
            ["make", "first", "second", "last", "take"].map(|task| dag.task(task, nothing));
        let each = dag.task("each", one.expand([1_u32, 2]));
        dag.chain(make >> first >> second >> last >> take.as_teardown(make));
        dag.chain(make >> each >> second);
        let dag = dag.build().unwrap();
        let graph = dag.graph();
        let [first, second, each] = ["first", "second", "each"].map(|task| node(graph, task));
        assert_eq!(named(graph, graph.scope(node(graph, "take"))), ["first", "second", "each"]);
        assert!(!graph.is_awaited_afar(first, |next| next == second));
        assert!(graph.is_awaited_afar(first, |_| false));
        assert!(graph.is_awaited_afar(each, |next| next == second), "another instance of it may be what is waited for");
    }

    #[test]
    fn a_teardown_waits_for_all_that_lies_between() {
        let graph = graph();
        let [make, a, b, c, take, aside] = ["make", "a", "b", "c", "take", "aside"].map(|task| node(&graph, task));
        assert_eq!(named(&graph, graph.scope(take)), ["a", "b"], "c is directly before it, aside is not before it");
        assert_eq!(graph.near_setups(take).collect::<Vec<_>>(), [make]);
        assert!(graph.near_setups(a).next().is_none() && graph.scope(c).is_empty());
        // While c waits, so does the teardown; when c ended early, it is the end of b that counts.
        assert!(!graph.is_awaited_afar(b, |next| next == c || next == aside));
        assert!(graph.is_awaited_afar(b, |next| next == aside));
        assert!(graph.is_awaited_afar(b, |_| false));
        assert!(graph.is_awaited_afar(make, |_| true), "c needs it");
        assert!(!graph.is_awaited_afar(aside, |_| false) && !graph.is_awaited_afar(c, |_| false));
    }
}
